"""gymnax 1.0 behind the engine's contract: `step_env`, which neither resets nor truncates.

gymnax's own `step` computes a whole reset every step under vmap. Images (MinAtar, Pong) are
flattened; integer observations in a Box are cast to float32, those of a Discrete space stay.
"""

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rlbench.env import Box, Discrete, EnvSpec, TimeStep, Vector
from rlbench.envs._later import later
from rlbench.types import Action, Key, Obs

# gymnax draws with them, which most runs never do, and they take longer to import than jax.
with warnings.catch_warnings(), later("seaborn", "matplotlib.pyplot"):
    warnings.simplefilter("ignore")  # gymnasium and pandas deprecations on import
    import gymnax
    from gymnax.environments import spaces


class GymnaxEnv:
    """One gymnax task with its default parameters."""

    def __init__(self, id: str, name: str, max_steps: int) -> None:
        """Builds the task.

        Args:
            id: the full id to record, e.g. `gymnax/CartPole-v1`.
            name: gymnax's own name.
            max_steps: the time limit, in env steps; it replaces gymnax's.
        """
        self.library, params = gymnax.make(name)
        # Of the library's own type: BernoulliBandit has a float and computes with it.
        limit = type(params.max_steps_in_episode)(max_steps)
        self.params = params.replace(max_steps_in_episode=limit)
        space = self.library.observation_space(self.params)
        self._discrete = isinstance(space, spaces.Discrete)
        observation = (
            Discrete(int(space.n)) if self._discrete else Vector(int(np.prod(space.shape)))
        )
        self.spec = EnvSpec(
            id=id,
            observation=observation,
            action=_action_space(self.library.action_space(self.params)),
            max_steps=max_steps,
        )

    def _observe(self, obs: Any) -> Array:
        if self._discrete:
            return jnp.asarray(obs, jnp.int32)
        return jnp.asarray(obs, jnp.float32).reshape(-1)

    def reset(self, key: Key) -> tuple[Any, Obs]:
        """A fresh start state, drawn as gymnax draws it."""
        obs, state = self.library.reset_env(key, self.params)
        return state, self._observe(obs)

    def step(self, key: Key, state: Any, action: Action) -> tuple[Any, TimeStep]:
        """One env step; `terminated` and `truncated` are gymnax's own."""
        obs, state, reward, terminated, _ = self.library.step_env(key, state, action, self.params)
        truncated = self.library.is_truncated(state, self.params)
        return state, TimeStep(
            obs=self._observe(obs),
            reward=jnp.asarray(reward, jnp.float32),
            terminated=jnp.asarray(terminated, bool),
            truncated=jnp.asarray(truncated, bool),
        )


def _action_space(space: Any) -> Discrete | Box:
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n))
    low = np.broadcast_to(np.asarray(space.low, np.float32), space.shape).ravel()
    high = np.broadcast_to(np.asarray(space.high, np.float32), space.shape).ravel()
    return Box(tuple(map(float, low)), tuple(map(float, high)))
