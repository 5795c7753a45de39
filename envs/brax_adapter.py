"""Brax 0.14.2 behind the engine's contract: raw steps, no wrapper, no auto-reset.

Brax's own EpisodeWrapper and AutoResetWrapper are left out: the first needs raw uint32 keys, the
second restarts every episode in one and the same state and loses the last observation.
"""

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Int

from rlbench.env import Box, EnvSpec, TimeStep, Vector
from rlbench.types import Action, Key, Obs

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    # On import brax prints to stdout that it has no warp, and its jaxopt that it is unmaintained.
    warnings.simplefilter("ignore")
    from brax import envs as brax_envs
    from mujoco import mjx


def _here(make: Callable[..., Any]) -> Callable[..., Any]:
    """MJX's maker of models or data, on a device of this process.

    MJX itself takes the first device of all, which may be another process's.
    """

    @functools.wraps(make)
    def made(*args: Any, **options: Any) -> Any:
        return make(*args, **{"device": jax.local_devices()[0], **options})

    return made


mjx.put_model, mjx.make_data = _here(mjx.put_model), _here(mjx.make_data)


@contextlib.contextmanager
def _quiet_mujoco() -> Iterator[None]:
    """Keeps MuJoCo from writing MUJOCO_LOG.TXT into the user's folder (some of Brax's models use a
    deprecated compiler option).
    """
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


class BraxState(NamedTuple):
    """Brax's own state and the env steps taken."""

    brax: Any
    steps: Int[Array, ""]


class BraxEnv:
    """One Brax task on one physics backend; actions in [-1, 1]."""

    def __init__(self, id: str, name: str, backend: str, max_steps: int) -> None:
        """Builds the task.

        Args:
            id: the full id to record, e.g. `brax/ant@spring`.
            name: Brax's own name.
            backend: spring, positional, generalized or mjx.
            max_steps: the time limit, in env steps.
        """
        with warnings.catch_warnings(), _quiet_mujoco():
            warnings.simplefilter("ignore")  # "environments are not actively being maintained"
            self.library = brax_envs.get_environment(name, backend=backend)
        # The library's own `observation_size` plays a start state op by op: seconds of compilation.
        start = jax.eval_shape(self.library.reset, jax.random.key(0))
        size = self.library.action_size
        self.spec = EnvSpec(
            id=id,
            observation=Vector(start.obs.shape[-1]),
            action=Box((-1.0,) * size, (1.0,) * size),
            max_steps=max_steps,
        )

    def reset(self, key: Key) -> tuple[BraxState, Obs]:
        """A fresh start state, drawn as Brax draws it."""
        state = self.library.reset(key)
        return BraxState(state, jnp.zeros((), jnp.int32)), state.obs

    def step(self, key: Key, state: BraxState, action: Action) -> tuple[BraxState, TimeStep]:
        """One env step; Brax's `done` is a termination, since nothing here counts time but us."""
        after = self.library.step(state.brax, action)
        steps = state.steps + 1
        terminated = after.done > 0.5
        truncated = (steps >= self.spec.max_steps) & ~terminated
        return BraxState(after, steps), TimeStep(after.obs, after.reward, terminated, truncated)
