"""Small environments to hold agents against: one for each kind of observation and action.

Episodes end early, late, or not at all before the time limit, as the start state says; what comes
after an episode's end is NaN, so that an agent that learns from it shows.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rlbench.env import AnyEnv, Box, Discrete, EnvSpec, TimeStep, Vector
from rlbench.types import Action, Key, Obs

LIMIT = 12


class PushState(NamedTuple):
    """Steps so far, the point, and whether the episode is over."""

    t: Array
    x: Array
    over: Array


@dataclass(frozen=True)
class Push:
    """A point in the plane, pushed by the action and by noise; it should stay near the origin."""

    spec = EnvSpec("probe/push", Vector(3), Box((-1.0, 0.0), (1.0, 3.0)), LIMIT)

    def reset(self, key: Key) -> tuple[PushState, Obs]:
        """Somewhere near the origin."""
        x = jax.random.normal(key, (2,))
        state = PushState(jnp.zeros((), jnp.int32), x, jnp.array(False))
        return state, self._show(state)

    def step(self, key: Key, state: PushState, action: Action) -> tuple[PushState, TimeStep]:
        """Too far to the right is the end."""
        x = 0.7 * state.x + 0.5 * action + 0.2 * jax.random.normal(key, (2,))
        terminated, truncated = x[0] > 1.5, state.t + 1 >= LIMIT
        new = PushState(state.t + 1, x, state.over | terminated | truncated)
        obs = jnp.where(state.over, jnp.nan, self._show(new))
        reward = jnp.where(state.over, jnp.nan, 1.0 - jnp.sum(x * x))
        return new, TimeStep(obs, reward, terminated, truncated & ~terminated)

    def _show(self, state: PushState) -> Obs:
        return jnp.append(state.x, state.t / LIMIT)


@dataclass(frozen=True)
class Corridor:
    """Four rooms in a row, of which the last is the goal; the door sticks now and then."""

    spec = EnvSpec("probe/corridor", Discrete(4), Discrete(3), LIMIT)

    def reset(self, key: Key) -> tuple[tuple[Array, Array], Obs]:
        """In one of the first three."""
        room = jax.random.randint(key, (), 0, 3)
        return (jnp.zeros((), jnp.int32), room), room

    def step(
        self, key: Key, state: tuple[Array, Array], action: Action
    ) -> tuple[tuple[Array, Array], TimeStep]:
        """Left, stay, right."""
        t, room = state
        opens = jax.random.bernoulli(key, 0.8)
        room = jnp.clip(room + jnp.where(opens, action - 1, 0), 0, 3).astype(jnp.int32)
        over = (state[1] == 3) | (t >= LIMIT)
        reward = jnp.where(over, jnp.nan, jnp.where(room == 3, 1.0, -0.1))
        truncated = (t + 1 >= LIMIT) & (room != 3)
        return (t + 1, room), TimeStep(room, reward, room == 3, truncated)


PROBES: tuple[AnyEnv, ...] = (Push(), Corridor())
