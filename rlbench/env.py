"""The environment contract: one instance, unbatched, pure, without auto-reset.

The rollout (`rlbench.rollout`) vmaps and resets. An adapter never restarts an episode by itself,
so the true last observation survives, and `terminated` (the task ended) stays apart from
`truncated` (the time limit was reached).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
from jaxtyping import Array, Bool, Float

from rlbench.types import Action, Key, Obs


@dataclass(frozen=True)
class Discrete:
    """The integers 0 to n - 1."""

    n: int


@dataclass(frozen=True)
class Box:
    """Real vectors between `low` and `high`, which have one entry a dimension."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def size(self) -> int:
        """Number of dimensions."""
        return len(self.low)


@dataclass(frozen=True)
class Vector:
    """Observations: float32 vectors of this size (images arrive flattened), bounds not stated."""

    size: int


@dataclass(frozen=True)
class EnvSpec:
    """What an algorithm may know about an environment before it has seen it.

    Attributes:
        id: the full id, backend included, e.g. `brax/ant@spring`.
        observation: `Vector(size)`, or `Discrete(n)` for integer observations.
        action: `Discrete(n)`, or `Box(low, high)`.
        max_steps: env steps after which an episode is truncated.
    """

    id: str
    observation: Vector | Discrete
    action: Discrete | Box
    max_steps: int


class TimeStep(NamedTuple):
    """What one step returned.

    Attributes:
        obs: the true next observation, also at an episode's end.
        reward: higher is better.
        terminated: the task itself ended.
        truncated: the time limit was reached. Both may be true (gymnax's DeepSea).
    """

    obs: Obs
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


EnvState = TypeVar("EnvState")


class Env(Protocol[EnvState]):
    """A task. Methods are pure, and jit- and vmap-able."""

    spec: EnvSpec

    def reset(self, key: Key) -> tuple[EnvState, Obs]:
        """Starts a fresh episode."""
        ...

    def step(self, key: Key, state: EnvState, action: Action) -> tuple[EnvState, TimeStep]:
        """Advances one env step. Undefined (even NaN) once the episode has ended."""
        ...


def zero_action(space: Discrete | Box) -> jax.Array:
    """The all-zeros action, kept inside the box: what "do nothing" means on a `Box`."""
    if isinstance(space, Discrete):
        return jax.numpy.zeros((), jax.numpy.int32)
    return jax.numpy.clip(
        jax.numpy.zeros(space.size), jax.numpy.asarray(space.low), jax.numpy.asarray(space.high)
    )


def uniform_action(space: Discrete | Box, key: Key) -> jax.Array:
    """One action drawn uniformly from the space."""
    if isinstance(space, Discrete):
        return jax.random.randint(key, (), 0, space.n)
    low, high = jax.numpy.asarray(space.low), jax.numpy.asarray(space.high)
    return jax.random.uniform(key, (space.size,), minval=low, maxval=high)


AnyEnv = Env[Any]
