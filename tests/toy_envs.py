"""What tests measure against: environments whose answer is known by hand, and the policy network
once more in plain float64 NumPy; and a jit for them.

All environments follow the contract of `rlbench.env.Env`. Those that can outlive an episode turn
NaN after its end, as Brax's do, so that a mask that is missing (or is a product) shows.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rlbench.env import Box, Discrete, EnvSpec, TimeStep, Vector
from rlbench.types import Action, Key, Obs

DRIFT_BOX = Box((-1.0, 0.0), (1.0, 3.0))


def one_step(obs: Obs, reward: Array) -> TimeStep:
    """The only step of a bandit."""
    return TimeStep(obs, reward, jnp.array(True), jnp.array(False))


@dataclass(frozen=True)
class Constant:
    """Pays 0.1 whatever is done: there is nothing to learn."""

    spec = EnvSpec("toy/constant", Vector(2), Discrete(2), 1)

    def reset(self, key: Key) -> tuple[tuple[()], Obs]:
        return (), jax.random.normal(key, (2,))

    def step(self, key: Key, state: tuple[()], action: Action) -> tuple[tuple[()], TimeStep]:
        return (), one_step(jnp.zeros(2), jnp.float32(0.1))


@dataclass(frozen=True)
class Arms:
    """Pays 1 for one of two actions, 0 for the other."""

    pays: int
    spec = EnvSpec("toy/arms", Vector(1), Discrete(2), 1)

    def reset(self, key: Key) -> tuple[tuple[()], Obs]:
        return (), jnp.ones(1)

    def step(self, key: Key, state: tuple[()], action: Action) -> tuple[tuple[()], TimeStep]:
        return (), one_step(jnp.ones(1), (action == self.pays).astype(jnp.float32))


@dataclass(frozen=True)
class Target:
    """Actions in [2, 4]; pays -(a - goal)^2, at most 0."""

    goal: float = 3.5
    spec = EnvSpec("toy/target", Vector(1), Box((2.0,), (4.0,)), 1)

    def reset(self, key: Key) -> tuple[tuple[()], Obs]:
        return (), jnp.ones(1)

    def step(self, key: Key, state: tuple[()], action: Action) -> tuple[tuple[()], TimeStep]:
        return (), one_step(jnp.ones(1), -jnp.sum((action - self.goal) ** 2))


@dataclass(frozen=True)
class Match:
    """A coin is shown as -1 or +1 (or, `discrete`, as 0 or 1); pays 1 for naming it."""

    discrete: bool = False

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("toy/match", Discrete(2) if self.discrete else Vector(1), Discrete(2), 1)

    def reset(self, key: Key) -> tuple[Array, Obs]:
        coin = jax.random.bernoulli(key).astype(jnp.int32)
        return coin, self._show(coin)

    def step(self, key: Key, state: Array, action: Action) -> tuple[Array, TimeStep]:
        return state, one_step(self._show(state), (action == state).astype(jnp.float32))

    def _show(self, coin: Array) -> Obs:
        return coin if self.discrete else 2.0 * coin[None] - 1.0


class CountingState(NamedTuple):
    t: Array
    length: Array


@dataclass(frozen=True)
class Counting:
    """Ends by itself after 1 to `longest` steps, drawn at reset, if the time limit lets it; pays 1
    a live step, whatever is done. Observations are (steps so far, drawn length)."""

    longest: int = 9
    spec = EnvSpec("toy/counting", Vector(2), Discrete(2), 12)

    def reset(self, key: Key) -> tuple[CountingState, Obs]:
        state = CountingState(
            jnp.zeros((), jnp.int32), jax.random.randint(key, (), 1, self.longest + 1)
        )
        return state, self._show(state)

    def step(
        self, key: Key, state: CountingState, action: Action
    ) -> tuple[CountingState, TimeStep]:
        over = (state.t >= state.length) | (state.t >= self.spec.max_steps)
        new = CountingState(state.t + 1, state.length)
        terminated = new.t >= state.length
        return new, TimeStep(
            obs=jnp.where(over, jnp.nan, self._show(new)),
            reward=jnp.where(over, jnp.nan, 1.0),
            # After the end neither: only a mask that remembers keeps such a lane dead.
            terminated=terminated & ~over,
            truncated=(new.t >= self.spec.max_steps) & ~terminated & ~over,
        )

    def _show(self, state: CountingState) -> Obs:
        return jnp.stack([state.t, state.length]).astype(jnp.float32)


class DriftState(NamedTuple):
    t: Array
    x: Array
    over: Array


@dataclass(frozen=True)
class Drift:
    """A point pushed by the action and by noise. What a step pays depends on the observation, the
    action and the noise, and it ends early if it goes too far to the right."""

    action: Box | Discrete = DRIFT_BOX
    pushes: tuple[tuple[float, float], ...] = ((-1.0, 0.5), (1.0, 0.0), (0.2, 2.0))

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("toy/drift", Vector(2), self.action, 4)

    def reset(self, key: Key) -> tuple[DriftState, Obs]:
        x = 0.5 + jax.random.normal(key, (2,))
        return DriftState(jnp.zeros((), jnp.int32), x, jnp.array(False)), x

    def step(self, key: Key, state: DriftState, action: Action) -> tuple[DriftState, TimeStep]:
        push = jnp.asarray(self.pushes)[action] if isinstance(self.action, Discrete) else action
        x = 0.7 * state.x + 0.5 * push + 0.2 * jax.random.normal(key, (2,))
        reward = jnp.sum(state.x * push) - jnp.sum(x * x)
        t = state.t + 1
        terminated, truncated = x[0] > 1.0, t >= self.spec.max_steps
        new = DriftState(t, x, state.over | terminated | truncated)
        return new, TimeStep(
            obs=jnp.where(state.over, jnp.nan, x),
            reward=jnp.where(state.over, jnp.nan, reward),
            terminated=terminated,
            truncated=truncated,
        )


def pqn64(x: np.ndarray) -> np.ndarray:
    """relu(layer_norm(x)) over the last axis, in float64."""
    centred = x - x.mean(-1, keepdims=True)
    return np.maximum(centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5), 0.0)


ACTIVATIONS64 = {"pqn": pqn64, "tanh": np.tanh, "relu": lambda x: np.maximum(x, 0.0)}


def network64(layers: list[dict[str, np.ndarray]], activation: str, x: np.ndarray) -> np.ndarray:
    """The policy network for one (D,) observation, in float64."""
    for i, layer in enumerate(layers):
        x = layer["w"] @ x + layer["b"]
        if i < len(layers) - 1:
            x = ACTIVATIONS64[activation](x)
    return x


def as64(tree: Any) -> Any:
    """All arrays of a pytree as float64 NumPy arrays."""
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def steps_of_queue(lengths: np.ndarray, slots: int, refill_at: int) -> int:
    """Env steps of every lane of a queue, by hand: (M, S) episode lengths, played in slots that
    take the next items once `refill_at` of them are free."""
    waiting, slot, steps = list(lengths.max(axis=1)), [0] * slots, 0
    while waiting or any(slot):
        if slot.count(0) >= refill_at or not steps:
            for i in range(slots):
                if not slot[i] and waiting:
                    slot[i] = waiting.pop(0)
        slot = [max(0, left - 1) for left in slot]
        steps += slots * lengths.shape[1]
    return steps


def quick(function: Any) -> Any:
    """jit without LLVM's optimisations: most of a small test's time is compilation."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})
