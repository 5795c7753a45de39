"""Agents and environments of others, each wrong in one way; the good ones they are made from."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlbench.agents.random_policy import RandomPolicy
from rlbench.env import Discrete, EnvSpec, TimeStep, Vector
from rlbench.testing.probes import Corridor, Push


class WeightedState(NamedTuple):
    """What the agents below learn."""

    update: Any
    key: Any
    weight: Any


@dataclass(frozen=True)
class Good(RandomPolicy):
    """Plays random episodes and moves a weight; acts with zeros, or half way up a box.

    Attributes:
        episodes: episodes that one update plays.
        pace: how far the weight moves.
    """

    episodes: int = 8
    pace: float = 0.5

    def init(self, task, keys):
        return WeightedState(jnp.zeros((), jnp.int32), keys.train, jnp.zeros(3))

    def act(self, task, state, obs, key):
        space = task.env.spec.action
        if isinstance(space, Discrete):
            return jnp.zeros((), jnp.int32)
        return jnp.asarray(space.low) * 0.5 + jnp.asarray(space.high) * 0.5

    def step(self, task, state):
        played, metrics = RandomPolicy.step(self, task, state)
        return WeightedState(played.update, played.key, state.weight + self.pace), metrics


@dataclass(frozen=True)
class WrongShape(Good):
    def act(self, task, state, obs, key):
        return super().act(task, state, obs, key)[None]


@dataclass(frozen=True)
class Outside(Good):
    def act(self, task, state, obs, key):
        return super().act(task, state, obs, key) + 10


@dataclass(frozen=True)
class NotANumber(Good):
    """Its weight is NaN from update `first` on."""

    first: int = 0

    def step(self, task, state):
        new, metrics = super().step(task, state)
        return new._replace(
            weight=jnp.where(state.update >= self.first, jnp.nan, new.weight)
        ), metrics


@dataclass(frozen=True)
class Grows(Good):
    def step(self, task, state):
        new, metrics = super().step(task, state)
        return new._replace(weight=jnp.append(new.weight, 0.0)), metrics


@dataclass(frozen=True)
class Liar(Good):
    """Reports one in `share` of its env steps from update `first` on."""

    first: int = 0
    share: int = 2

    def step(self, task, state):
        new, metrics = super().step(task, state)
        divide = jnp.where(state.update >= self.first, self.share, 1)
        return new, metrics | {
            n: metrics[n] // divide for n in ("simulated_env_steps", "live_env_steps")
        }


@dataclass(frozen=True)
class Silent(Good):
    def step(self, task, state):
        new, metrics = super().step(task, state)
        del metrics["live_env_steps"]
        return new, metrics


@dataclass(frozen=True)
class Impure(Good):
    def step(self, task, state):
        new, metrics = super().step(task, state)
        return new._replace(weight=new.weight + np.random.default_rng().normal()), metrics


@dataclass(frozen=True)
class Seedless(Good):
    def init(self, task, keys):
        return super().init(task, keys)._replace(key=jax.random.key(0))


@dataclass(frozen=True)
class Raises(Good):
    def step(self, task, state):
        raise ValueError("no step for you")


@dataclass(frozen=True)
class RaisesLate(Good):
    """Raises on the host in update 3."""

    def step(self, task, state):
        def host(update):
            if int(update) >= 3:
                raise ValueError("enough")
            return np.float32(0.0)

        new, metrics = super().step(task, state)
        zero = jax.pure_callback(host, jax.ShapeDtypeStruct((), jnp.float32), state.update)
        return new._replace(weight=new.weight + zero), metrics


@dataclass(frozen=True)
class OtherNetwork(Good):
    """Exports a network that it does not play."""

    def network(self, task, state):
        return task.policy.init(jax.random.key(7)), None


@dataclass(frozen=True)
class NoAct:
    episodes: int = 8


class NoDataclass:
    def __init__(self, episodes=8):
        self.episodes = episodes


class NanPay(Push):
    def step(self, key, state, action):
        new, now = super().step(key, state, action)
        return new, now._replace(reward=jnp.where(state.t == 2, jnp.nan, now.reward))


class EarlyCut(Push):
    def step(self, key, state, action):
        new, now = super().step(key, state, action)
        return new, now._replace(truncated=now.truncated | (new.t >= 5))


class Endless(Push):
    def step(self, key, state, action):
        new, now = super().step(key, state, action)
        return new, now._replace(truncated=jnp.array(False))


class WrongObs(Push):
    spec = EnvSpec("probe/wrong", Vector(5), Push.spec.action, 12)


class ChangingState(Push):
    def step(self, key, state, action):
        new, now = super().step(key, state, action)
        return new._replace(t=new.t.astype(jnp.float32)), now


class FloatFlag(Push):
    def step(self, key, state, action):
        new, now = super().step(key, state, action)
        return new, TimeStep(now.obs, now.reward, now.terminated * 1.0, now.truncated)


class FewRooms(Corridor):
    spec = EnvSpec("probe/few", Discrete(2), Discrete(3), 12)


class Remembers(Push):
    """Carries a number from one episode to the next, outside of its state."""

    resets = 0

    def reset(self, key):
        Remembers.resets += 1
        state, obs = super().reset(key)
        return state, obs + Remembers.resets


class NeedsArguments(Push):
    def __init__(self, size):
        self.size = size


class Sized(Push):
    """A good one, which says how much to spend on it."""

    budget = 5000
    block_lanes = 16
