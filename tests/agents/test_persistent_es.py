"""Truncated unrolls: unbiased where a plain ES is not; equal to the paper's accumulators."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from rlbench.agents.eggroll import Eggroll
from rlbench.agents.open_es import OpenES
from rlbench.agents.persistent_es import PersistentES
from rlbench.algorithm import Task
from rlbench.blocks import Blocks
from rlbench.env import Box, EnvSpec, TimeStep, Vector
from rlbench.errors import UsageError
from rlbench.network import Network
from rlbench.policy import MLPPolicy
from rlbench.seeding import run_streams
from tests.toy_envs import Drift, Match, as64, quick

LINEAR = Network(hidden=(), activation="tanh", head_scale=0.0)
FORCE = 10.0
"""The policy's output 1 is the action 10."""


class RampState(NamedTuple):
    t: Array
    x: Array


@dataclass(frozen=True)
class Ramp:
    """x' = x + a; a step pays x - cost a, so an action is a loss now and a gain for ever after.

    Shows (x, 1), or only (0, 1) if `blind`. Ends at `steps`, or where x passes `edge`.
    """

    steps: int = 6
    cost: float = 2.0
    edge: float = 1e9
    blind: bool = True

    @property
    def spec(self):
        return EnvSpec("toy/ramp", Vector(2), Box((-FORCE,), (FORCE,)), self.steps)

    def _show(self, x):
        return jnp.stack([x * (not self.blind), jnp.ones(())])

    def reset(self, key):
        state = RampState(jnp.zeros((), jnp.int32), jnp.zeros(()))
        return state, self._show(state.x)

    def step(self, key, state, action):
        x = state.x + action[0]
        new = RampState(state.t + 1, x)
        terminated = x > self.edge
        truncated = (new.t >= self.steps) & ~terminated
        return new, TimeStep(self._show(x), state.x - self.cost * action[0], terminated, truncated)


def task_on(env, devices=1, lanes=64):
    return Task(env, MLPPolicy(env.spec, LINEAR), Blocks(lanes, devices))


def es(cls, **settings):
    base = {"optimizer": "sgd", "sigma": 0.01, "learning_rate": 1e-3}
    return cls(**(base | {"normalize_observations": False, "noise_dtype": "float32"} | settings))


def generations(algorithm, task, n):
    """The states of so many generations, and their metrics."""
    step = quick(lambda state: algorithm.step(task, state))
    states = [jax.device_put(algorithm.init(task, run_streams(0)), task.blocks.replicated)]
    told = []
    for _ in range(n):
        state, metrics = step(states[-1])
        states.append(state)
        told.append(metrics)
    return states, told


def bias_of(state):
    return float(state.params["layers"][0]["b"][0])


def spread_of(state):
    """What the estimate was divided by: the spread of all fitness so far."""
    fitness = state.unrolls.fitness
    return float(jnp.sqrt(fitness.m2[0] / fitness.n + 1e-5))


KINDS = {"full rank": (OpenES, {}), "rank 1": (Eggroll, {"rank": 1})}


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_whole_episodes_and_not_of_their_parts(kind):
    # J(a) = sum_t (t a - 2 a) = 15 a - 12 a over six steps: up. Of two steps each, seen alone:
    # 3 x (a - 4 a) = -9 a, down. Both for a bias, which 10 b = a.
    cls, extra = KINDS[kind]
    algorithm = es(cls, pop_size=4096, unroll=2, **extra)
    states, _ = generations(algorithm, task_on(Ramp(), lanes=4096), 12)
    estimates = [
        (bias_of(after) - bias_of(before)) / 1e-3 * spread_of(after)
        for before, after in pairwise(states)
    ]
    cycles = np.array(estimates).reshape(4, 3).sum(1)
    standard_error = cycles.std(ddof=1) / 2
    assert abs(cycles.mean() - 30.0) < 4 * standard_error
    assert standard_error < 5.0  # so that -90 is far away


def by_hand(algorithm, env, states, told):
    """The paper's algorithm in float64: every lane keeps the sum of the noise its episode has seen.

    A fresh episode waits for the next generation. Yields the parameters after each generation.
    """
    pairs, each = algorithm.pop_size // 2, algorithm.n_parallel_evaluations
    params = as64(states[0].params)
    seen = {}  # (pair, sign, episode) to (x, t, accumulated noise / sigma)
    zero = jax.tree.map(np.zeros_like, params)
    scored = []
    for g in range(len(told)):
        sigma = algorithm.sigma * algorithm.sigma_decay**g
        there = states[0]._replace(generation=jnp.int32(g))
        noise = as64(algorithm._draw(there, jnp.arange(pairs)))
        total, estimate = {}, zero
        for pair in range(pairs):
            e = one_pair(algorithm, noise, pair)
            for sign in (1.0, -1.0):
                member = jax.tree.map(lambda p, n, s=sign * sigma: p + s * n, params, e)
                fresh = jax.tree.map(lambda n, s=sign / sigma: s * n, e)
                for episode in range(each):
                    lane = (pair, sign, episode)
                    x, t, kept = seen.get(lane, (0.0, 0, zero))
                    kept = jax.tree.map(np.add, kept, fresh)
                    ended = False
                    for _ in range(algorithm.unroll):
                        if ended:
                            break
                        layer = member["layers"][0]
                        shown = np.array([0.0 if env.blind else x, 1.0])
                        out = layer["w"] @ shown + layer["b"]
                        action = FORCE * np.clip(out, -1.0, 1.0)[0]
                        reward, x, t = x - env.cost * action, x + action, t + 1
                        total[lane] = total.get(lane, 0.0) + reward
                        estimate = jax.tree.map(
                            lambda s, n, r=reward: s + r * n / each, estimate, kept
                        )
                        ended = x > env.edge or t >= env.steps
                    seen[lane] = (0.0, 0, zero) if ended else (x, t, kept)
        scored.append(np.array(list(total.values())).reshape(-1, each).mean(1))
        spread = np.sqrt(np.concatenate(scored).var() + 1e-5)
        scale = algorithm.learning_rate / (algorithm.pop_size * spread)
        params = jax.tree.map(lambda p, s, k=scale: p + k * s, params, estimate)
        yield params


def one_pair(algorithm, noise, pair):
    """A pair's perturbation as whole matrices."""
    layer = noise["layers"][0]
    if isinstance(algorithm, Eggroll):
        a, b = layer["w"].a[pair], layer["w"].b[pair]
        w = a.T @ b / np.sqrt(algorithm.rank)
    else:
        w = layer["w"][pair].T
    return {"layers": [{"b": layer["b"][pair], "w": w}], "log_std": noise["log_std"][pair]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("each", [1, 2])
def test_it_is_the_algorithm_with_accumulators(kind, each):
    # Episodes of five steps or fewer in unrolls of three: they end within, between, and at the end.
    cls, extra = KINDS[kind]
    settings = {"pop_size": 8, "unroll": 3, "sigma": 0.1, "sigma_decay": 0.9, "learning_rate": 0.05}
    algorithm = es(cls, n_parallel_evaluations=each, **settings, **extra)
    env = Ramp(steps=5, edge=2.0, blind=False)
    states, told = generations(algorithm, task_on(env, lanes=8), 7)
    began = {int(n) for state in states for n in state.unrolls.began}
    assert len(began) > 4  # lanes do restart at different times
    for state, want in zip(states[1:], by_hand(algorithm, env, states, told), strict=True):
        for x, y in zip(*map(jax.tree.leaves, (state.params, want)), strict=True):
            np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unroll_as_long_as_episodes_is_a_plain_generation(kind):
    cls, extra = KINDS[kind]
    found = []
    for unroll in (0, 6):
        algorithm = es(cls, pop_size=8, unroll=unroll, learning_rate=0.1, **extra)
        found.append(generations(algorithm, task_on(Ramp(), lanes=8), 1)[0][-1].params)
    for x, y in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def test_episodes_are_cut_where_the_settings_say():
    params = []
    for env, cut in ((Ramp(steps=6), 4), (Ramp(steps=4), 0)):
        algorithm = es(OpenES, pop_size=8, unroll=3, learning_rate=0.1, episode_steps=cut)
        params.append(generations(algorithm, task_on(env, lanes=8), 4)[0][-1].params)
    for x, y in zip(*map(jax.tree.leaves, params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-8)
    assert np.any(params[0]["layers"][0]["b"] != 0.0)


@pytest.mark.parametrize(
    "env",
    [pytest.param(Drift(), marks=pytest.mark.slow), Match()],
    ids=lambda env: env.spec.id,
)
def test_one_and_two_devices_give_the_same_bits(env):
    states = []
    for devices in (1, 2):
        algorithm = Eggroll(pop_size=16, unroll=3, deterministic_policy=False)
        policy = MLPPolicy(env.spec, Network((4,), "tanh"))
        task = Task(env, policy, Blocks(4, devices))
        state = jax.device_put(algorithm.init(task, run_streams(0)), task.blocks.replicated)
        step = jax.jit(lambda s, a=algorithm, t=task: a.step(t, s)[0])
        for _ in range(3):
            state = step(state)
        states.append((state.params, state.moments, state.unrolls.began))
    for x, y in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_generation_ends_with_its_last_episode():
    algorithm = es(OpenES, pop_size=8, unroll=3, n_parallel_evaluations=2)
    task = task_on(Ramp(steps=5), lanes=8)
    _, told = generations(algorithm, task, 3)
    for metrics, steps in zip(told, (3, 2, 3), strict=True):
        assert int(metrics["simulated_env_steps"].sum()) == 8 * 2 * steps
        assert int(metrics["live_env_steps"].sum()) == 8 * 2 * steps
    assert algorithm.env_steps_per_update(task) == 8 * 2 * 3


@dataclass(frozen=True)
class Survive(Ramp):
    """Pays 1 a step, until the sum of the actions passes 1."""

    edge: float = 1.0

    def step(self, key, state, action):
        new, now = super().step(key, state, action)
        return new, now._replace(reward=jnp.ones(()))


def test_what_keeps_an_episode_alive_is_learnt_although_every_step_pays_the_same():
    # A fresh episode at once would pay as much in every unroll, whatever the noise.
    algorithm = es(OpenES, pop_size=64, unroll=10, sigma=0.1, learning_rate=0.02)
    states, told = generations(algorithm, task_on(Survive(steps=10), lanes=64), 10)
    assert bias_of(states[-1]) < -0.1
    assert float(told[-1]["fitness_mean"]) > 9.0 > float(told[0]["fitness_mean"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"unroll": -1}, "unroll must be at least 0"),
        ({"unroll": 5, "rank_transform": True}, "rank_transform cannot be combined with unroll"),
        ({"unroll": 5, "noise_reuse": 2}, "fresh noise in every generation, noise_reuse=1, not 2"),
    ],
)
def test_options_that_would_be_another_estimate_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        Eggroll(**settings)


def test_persistent_es_has_unrolls():
    assert PersistentES().unroll == 50
    with pytest.raises(UsageError, match="unroll must be at least 1"):
        PersistentES(unroll=0)
