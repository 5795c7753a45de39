"""The probe environments: each is solved only if one more part of an actor-critic works.

Known by hand is the value of what they show first, and the best action. After Andy Jones,
"Debugging RL, without the agonizing pain" (2021), as Rejax has them.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rlbench.env import Discrete, EnvSpec, TimeStep, Vector
from rlbench.types import Action, Key, Obs

NO, YES = jnp.array(False), jnp.array(True)


@dataclass(frozen=True)
class One:
    """One action, one observation, one step, reward 1: the critic learns a constant."""

    spec = EnvSpec("probe/one", Vector(1), Discrete(1), 1)

    def reset(self, key: Key) -> tuple[Array, Obs]:
        return jnp.zeros(1), jnp.zeros(1)

    def step(self, key: Key, state: Array, action: Action) -> tuple[Array, TimeStep]:
        return state, TimeStep(state, jnp.float32(1.0), YES, NO)


@dataclass(frozen=True)
class Coin:
    """Shows -1 or +1 and pays it: the critic learns to look."""

    spec = EnvSpec("probe/coin", Vector(1), Discrete(1), 1)

    def reset(self, key: Key) -> tuple[Array, Obs]:
        coin = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)[None]
        return coin, coin

    def step(self, key: Key, state: Array, action: Action) -> tuple[Array, TimeStep]:
        return state, TimeStep(state, state[0], YES, NO)


@dataclass(frozen=True)
class Later:
    """Shows 0, then 1, and pays 1 at the end of both: rewards are discounted."""

    spec = EnvSpec("probe/later", Vector(1), Discrete(1), 2)

    def reset(self, key: Key) -> tuple[Array, Obs]:
        return jnp.zeros(1), jnp.zeros(1)

    def step(self, key: Key, state: Array, action: Action) -> tuple[Array, TimeStep]:
        return state + 1.0, TimeStep(state + 1.0, state[0], state[0] > 0.5, NO)


@dataclass(frozen=True)
class Choice(One):
    """Two actions, which pay -1 and +1: the actor learns."""

    spec = EnvSpec("probe/choice", Vector(1), Discrete(2), 1)

    def step(self, key: Key, state: Array, action: Action) -> tuple[Array, TimeStep]:
        return state, TimeStep(state, 2.0 * action - 1.0, YES, NO)


@dataclass(frozen=True)
class Name(Coin):
    """Shows -1 or +1 and pays 1 for the action that names it, -1 for the other: both learn."""

    spec = EnvSpec("probe/name", Vector(1), Discrete(2), 1)

    def step(self, key: Key, state: Array, action: Action) -> tuple[Array, TimeStep]:
        return state, TimeStep(state, (2.0 * action - 1.0) * state[0], YES, NO)


@dataclass(frozen=True)
class Endless:
    """Pays 1 for ever and shows the same; only the time limit ends it, after five steps."""

    spec = EnvSpec("probe/endless", Vector(1), Discrete(1), 5)

    def reset(self, key: Key) -> tuple[Array, Obs]:
        return jnp.zeros((), jnp.int32), jnp.ones(1)

    def step(self, key: Key, state: Array, action: Action) -> tuple[Array, TimeStep]:
        return state + 1, TimeStep(jnp.ones(1), jnp.float32(1.0), NO, state + 1 >= 5)
