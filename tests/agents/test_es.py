"""Proves that one generation of `eggroll` and `open_es` is the algorithm of the papers: equal to a
loop over members that builds every weight in float64 and plays every episode by hand; and that
both climb: on environments whose best policy is known, and not where there is nothing to climb.
"""

from functools import lru_cache, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import rankdata

from rlbench.agents import _es
from rlbench.agents._es import EvolutionStrategy, shape_fitness
from rlbench.agents.eggroll import Eggroll
from rlbench.agents.open_es import OpenES
from rlbench.algorithm import Task, evaluate
from rlbench.blocks import Blocks
from rlbench.env import Discrete
from rlbench.errors import UsageError
from rlbench.network import Network
from rlbench.normalizer import Moments
from rlbench.policy import MLPPolicy
from rlbench.seeding import evaluation_keys, run_streams
from tests.toy_envs import (
    Arms,
    Constant,
    Counting,
    Drift,
    Match,
    Target,
    as64,
    network64,
    quick,
    steps_of_queue,
)


def task_of(env: Any, network: Network, lanes: int) -> Task:
    return Task(env, MLPPolicy(env.spec, network), Blocks(lanes))


def start(algorithm: EvolutionStrategy, task: Task, seed: int) -> Any:
    return quick(lambda keys: algorithm.init(task, keys))(run_streams(seed))


# Fitness shaping.

shape = jax.jit(shape_fitness, static_argnums=1)


def zscores64(fitness: np.ndarray) -> np.ndarray:
    return (fitness - fitness.mean()) / np.sqrt(fitness.var() + 1e-5)


def centred_ranks64(fitness: np.ndarray) -> np.ndarray:
    return (rankdata(fitness, method="average") - 1) / (fitness.size - 1) - 0.5


@pytest.mark.parametrize("n", [2, 101])
def test_zscores_are_those_of_float64(n: int) -> None:
    fitness = np.random.default_rng(n).normal(50.0, 20.0, n).astype(np.float32)
    got = shape(fitness, False)
    # A fitness of 100 is rounded to 1e-5, a millionth of its spread.
    np.testing.assert_allclose(got, zscores64(fitness.astype(np.float64)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("n", [2, 101])
@pytest.mark.parametrize("levels", [3, 10**6])
def test_ranks_are_centred_and_ties_share_their_mean_rank(n: int, levels: int) -> None:
    fitness = np.random.default_rng(n).integers(levels, size=n).astype(np.float32)
    got = np.asarray(shape(fitness, True))
    np.testing.assert_allclose(got, centred_ranks64(fitness), rtol=0, atol=1e-6)
    assert np.all(np.abs(got) <= 0.5)


def test_distinct_ranks_span_minus_to_plus_one_half() -> None:
    got = shape(np.float32([3, 9, -2, 4]), True)
    np.testing.assert_allclose(got, np.array([1, 3, 0, 2]) / 3 - 0.5, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0, -200.0, 0.1])
def test_equal_fitness_ranks_as_nothing(value: float) -> None:
    assert not np.any(shape(np.full(6, value, np.float32), True))


@pytest.mark.parametrize("value", [0.0, 1.0, -200.0, 0.1])
def test_equal_fitness_has_z_score_zero(value: float) -> None:
    assert not np.any(shape(np.full(6, value, np.float32), False))


# One generation against a loop over members.


@lru_cache
def compiled(env: Any) -> tuple[Any, Any]:
    return jax.jit(env.reset), jax.jit(env.step)


def fold(key: Any, *numbers: int) -> Any:
    return reduce(jax.random.fold_in, numbers, key)


def normal64(key: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(jax.random.normal(key, shape), np.float64)


def noise64(key: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Of both words of a call of threefry, rounded to half precision, as noise is stored."""
    with jax.threefry_partitionable(False):
        return normal64(key, shape).astype(np.float16).astype(np.float64)


class Reference:
    """The algorithm, once more and slowly. Its lists are over the parameters' leaves."""

    def __init__(self, algorithm: Any, task: Task, state: Any) -> None:
        self.algorithm, self.task, self.key = algorithm, task, state.key
        leaves, self.treedef = jax.tree.flatten(state.params)
        self.params = as64(leaves)
        self.first = [np.zeros_like(x) for x in self.params]
        self.second = [np.zeros_like(x) for x in self.params]
        self.generation = 0
        self.seen: list[np.ndarray] = []

    def draw(self, pair: int) -> list[np.ndarray]:
        reuse = self.algorithm.noise_reuse
        epoch = self.generation // reuse if reuse else 0
        noise = []
        for leaf, x in enumerate(self.params):
            key = fold(self.key, 0, leaf, epoch, pair)
            if x.ndim == 2 and isinstance(self.algorithm, Eggroll):
                rank = self.algorithm.rank
                factors = noise64(key, (rank, sum(x.shape)))
                noise.append(factors[:, : len(x)].T @ factors[:, len(x) :] / np.sqrt(rank))
            else:
                noise.append(noise64(key, x.shape[::-1]).T)
        return noise

    def see(self, obs: np.ndarray, before: np.ndarray) -> np.ndarray:
        if not self.algorithm.normalize_observations:
            return obs
        mean, std = (before.mean(0), before.std(0)) if before.size else (0.0, 1.0)
        return np.clip((obs - mean) / std, -10.0, 10.0)

    def choose(self, weights: Any, out: np.ndarray, key: Any) -> np.ndarray:
        space, sampled = self.task.env.spec.action, not self.algorithm.deterministic_policy
        if isinstance(space, Discrete):
            gumbel = np.asarray(jax.random.gumbel(key, out.shape)) if sampled else 0.0
            return np.argmax(out + gumbel).astype(np.int32)
        noise = np.exp(weights["log_std"]) * normal64(key, out.shape) if sampled else 0.0
        low, high = np.array(space.low), np.array(space.high)
        unit = (np.clip(out + noise, -1.0, 1.0) + 1.0) / 2.0
        return (low + unit * (high - low)).astype(np.float32)

    def play(self, weights: Any, key: Any, before: np.ndarray) -> float:
        reset, step = compiled(self.task.env)
        reset_key, step_key = jax.random.split(key)
        state, obs = reset(reset_key)
        total, limit = 0.0, self.task.env.spec.max_steps
        for t in range(min(self.algorithm.episode_steps or limit, limit)):
            self.seen.append(np.asarray(obs, np.float64))
            x = self.see(self.seen[-1], before)
            out = network64(weights["layers"], self.task.policy.network.activation, x)
            action = self.choose(weights, out, fold(step_key, 2 * t))
            state, now = step(fold(step_key, 2 * t + 1), state, action)
            obs, total = now.obs, total + float(now.reward)
            if now.terminated or now.truncated:
                break
        return total

    def step(self) -> np.ndarray:
        algorithm, sigma = self.algorithm, self.sigma
        before = np.array(self.seen)
        episodes = range(algorithm.n_parallel_evaluations)
        members, fitness = [], []
        for pair in range(algorithm.pop_size // 2):
            noise = self.draw(pair)
            for sign in (+1.0, -1.0):
                perturbation = [sign * e for e in noise]
                weights = self.treedef.unflatten(
                    [x + sigma * e for x, e in zip(self.params, perturbation, strict=True)]
                )
                keys = [fold(self.key, 1, self.generation, pair, i) for i in episodes]
                members.append(perturbation)
                fitness.append(np.mean([self.play(weights, key, before) for key in keys]))
        self.ascend(members, np.array(fitness))
        self.generation += 1
        return np.array(fitness)

    @property
    def sigma(self) -> float:
        return self.algorithm.sigma * self.algorithm.sigma_decay**self.generation

    def ascend(self, members: list[list[np.ndarray]], fitness: np.ndarray) -> None:
        algorithm, n = self.algorithm, len(members)
        shaped = (centred_ranks64 if algorithm.rank_transform else zscores64)(fitness)
        scale = {"paper": 1.0 / (n * self.sigma), "hyperscale": self.sigma / np.sqrt(n)}
        rate = algorithm.learning_rate * algorithm.lr_decay**self.generation
        for i, x in enumerate(self.params):
            gradient = np.zeros_like(x)
            for weight, perturbation in zip(shaped, members, strict=True):
                gradient += scale[algorithm.estimator] * weight * perturbation[i]
            if algorithm.optimizer == "sgd":
                self.params[i] = x + rate * gradient
                continue
            # Adam with optax's defaults; adamw's decay is 1e-4 of the weight.
            t, decay = self.generation + 1, 1e-4 if algorithm.optimizer == "adamw" else 0.0
            self.first[i] = 0.9 * self.first[i] + 0.1 * gradient
            self.second[i] = 0.999 * self.second[i] + 0.001 * gradient**2
            # In single precision, as optax has it: there 1 - 0.999 is off by a 70,000th.
            unseen = 1 - np.float32(0.999) ** np.float32(t)
            spread = np.sqrt(self.second[i] / float(unseen)) + 1e-8
            self.params[i] = x + rate * (self.first[i] / (1 - 0.9**t) / spread - decay * x)


SGD = {"optimizer": "sgd", "learning_rate": 0.2, "sigma": 0.3}
DECAYS = {"lr_decay": 0.7, "sigma_decay": 0.8}
LINEAR, HIDDEN = Network(()), Network((5,), "tanh")
GENERATIONS = [
    (Eggroll(8, rank=1, **SGD, **DECAYS), HIDDEN, Drift()),
    (
        Eggroll(8, 3, rank=2, estimator="hyperscale", rank_transform=True, **SGD, **DECAYS),
        LINEAR,
        Drift(Discrete(3)),
    ),
    (
        Eggroll(8, 3, "adam", 0.05, 0.7, 0.3, 0.8, rank=2, deterministic_policy=False),
        LINEAR,
        Drift(),
    ),
    (
        Eggroll(8, rank=1, noise_reuse=2, deterministic_policy=False, **SGD, **DECAYS),
        LINEAR,
        Drift(Discrete(3)),
    ),
    (OpenES(8, 3, deterministic_policy=False, **SGD, **DECAYS), HIDDEN, Drift()),
    (
        OpenES(8, estimator="hyperscale", noise_reuse=0, episode_steps=2, **SGD, **DECAYS),
        LINEAR,
        Drift(),
    ),
    (
        OpenES(8, 3, "adamw", 1.0, rank_transform=True, normalize_observations=False),
        LINEAR,
        Drift(),
    ),
]


@pytest.mark.parametrize("es", [Eggroll(16, **SGD), OpenES(16, **SGD)])
def test_noise_that_is_not_kept_is_drawn_again_the_same(es: Any, monkeypatch: Any) -> None:
    task, updated = task_of(Drift(), HIDDEN, lanes=4), {}
    state = start(es, task, seed=0)
    for kept in (1 << 29, 0):
        monkeypatch.setattr(_es, "KEEP_BYTES", kept)
        updated[kept] = jax.tree.leaves(quick(lambda s: es.step(task, s)[0])(state).params)
    for a, b, before in zip(*updated.values(), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
        assert np.max(np.abs(a - before)) > 1e-3


@pytest.mark.parametrize(("algorithm", "network", "env"), GENERATIONS, ids=range(len(GENERATIONS)))
def test_generations_equal_a_loop_over_members(algorithm: Any, network: Any, env: Any) -> None:
    # Two queues of two pairs; with three episodes a member, each has more lanes than there are.
    task = task_of(env, network, lanes=4)
    state, step = start(algorithm, task, seed=0), quick(lambda s: algorithm.step(task, s))
    reference, initial = Reference(algorithm, task, state), jax.tree.leaves(state.params)
    for _ in range(3):
        sigma, played_before = reference.sigma, len(reference.seen)
        fitness = reference.step()
        state, metrics = step(state)
        assert np.sum(metrics["live_env_steps"]) == len(reference.seen) - played_before
        expected = {"fitness_mean": fitness.mean(), "fitness_max": fitness.max()}
        expected |= {"fitness_std": fitness.std(), "sigma": sigma}
        for name, value in expected.items():
            np.testing.assert_allclose(metrics[name], value, rtol=2e-5, err_msg=name)

    for got, wanted, at_first in zip(
        jax.tree.leaves(state.params), reference.params, initial, strict=True
    ):
        # Weights are rounded to 1e-7; an episode's return, and so an estimate, to a millionth.
        np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5)
        assert np.max(np.abs(wanted - at_first)) > 5e-3, "nothing was learnt, so nothing was tested"
    if algorithm.normalize_observations:
        seen = np.array(reference.seen)
        assert state.moments.n == len(seen)
        np.testing.assert_allclose(state.moments.mean, seen.mean(0), rtol=0, atol=1e-5)
        np.testing.assert_allclose(state.moments.m2 / len(seen), seen.var(0), rtol=1e-4)


def test_without_normalization_observations_are_seen_as_they_are() -> None:
    obs = jnp.array([50.0, -3000.0])
    task = task_of(Drift(), LINEAR, lanes=4)
    state = start(OpenES(4), task, seed=0)
    state = state._replace(moments=Moments(jnp.array(9.0), jnp.ones(2), jnp.ones(2)))
    np.testing.assert_array_equal(OpenES(4, normalize_observations=False)._see(state, obs), obs)
    assert jnp.all(OpenES(4)._see(state, obs) != obs)


# Environments with a known answer.


@pytest.mark.parametrize("rank_transform", [False, True])
def test_nothing_to_learn_moves_nothing(rank_transform: bool) -> None:
    # Optimised as in real runs: fused arithmetic leaves a rest where plain arithmetic cancels,
    # and adam would make a full step of any rest.
    es = Eggroll(6, 3, "sgd", 10.0, rank_transform=rank_transform)
    task = task_of(Constant(), LINEAR, lanes=6)
    before = start(es, task, seed=0)
    after, metrics = jax.jit(lambda s: es.step(task, s))(before)
    np.testing.assert_allclose(metrics["fitness_mean"], 0.1, rtol=1e-6)
    for x, y in zip(*map(jax.tree.leaves, (before.params, after.params)), strict=True):
        np.testing.assert_array_equal(x, y)


def returns_before_and_after(es: Any, env: Any, generations: int) -> tuple[float, float]:
    """Mean returns of the mean policy, as drawn and as learnt."""
    task = task_of(env, LINEAR, lanes=256)

    @quick
    def run(keys: Any) -> Any:
        first = es.init(task, keys)
        last = jax.lax.scan(lambda s, _: (es.step(task, s)[0], None), first, length=generations)[0]
        states = jax.tree.map(lambda *x: jnp.stack(x), first, last)
        return jax.lax.map(lambda s: evaluate(es, task, s, evaluation_keys(32)).returns, states)

    before, after = np.asarray(run(run_streams(4))).mean(axis=1)
    return float(before), float(after)


# Between them both algorithms meet every environment, and both ways to act every kind of action.
PROBES = [
    pytest.param(*probe, id=f"{probe[0].__name__}-{probe[2]}")
    for probe in [
        (Eggroll, True, Arms(1), 0.99),
        (OpenES, False, Arms(1), 0.99),
        (Eggroll, False, Target(), -0.01),
        (OpenES, True, Target(), -0.01),
        (Eggroll, False, Match(), 0.99),
        (OpenES, True, Match(), 0.99),
        (Eggroll, True, Match(discrete=True), 0.99),
        (OpenES, False, Match(discrete=True), 0.99),
    ]
]


@pytest.mark.parametrize(("algorithm", "deterministic", "env", "enough"), PROBES)
def test_the_right_action_is_learnt(
    algorithm: Any, deterministic: bool, env: Any, enough: float
) -> None:
    # Perturbations must reach across what a discrete policy is sure of, and not blur a point.
    sigma = 0.2 if isinstance(env, Target) else 0.5
    es = algorithm(64, 2, "adam", 0.1, 0.97, sigma, deterministic_policy=deterministic)
    before, after = returns_before_and_after(es, env, generations=100)
    assert before < enough - 0.2, "a seed whose initial weights know the answer shows nothing"
    assert after > enough


def test_steps_are_counted_as_the_environment_counts_them() -> None:
    env, evaluations = Counting(), 2
    es = Eggroll(12, evaluations, "sgd", normalize_observations=True)
    # Six pairs of four episodes: two queues of twelve, in nine lanes each.
    task = task_of(env, LINEAR, lanes=9)
    state, step = start(es, task, seed=0), quick(lambda s: es.step(task, s))
    for generation in range(3):
        root, lengths = fold(state.key, 1, generation), np.zeros((6, evaluations), int)
        for pair, episode in np.ndindex(lengths.shape):
            reset_key, _ = jax.random.split(fold(root, pair, episode))
            lengths[pair, episode] = compiled(env)[0](reset_key)[0].length
        state, metrics = step(state)
        # Both members of a pair play the same episodes.
        queues = np.repeat(lengths[:, None], 2, axis=1).reshape(2, 12, 1)
        np.testing.assert_array_equal(metrics["live_env_steps"], queues.sum(axis=(1, 2)))
        simulated = [steps_of_queue(queue, slots=9, refill_at=1) for queue in queues]
        np.testing.assert_array_equal(metrics["simulated_env_steps"], simulated)
        np.testing.assert_allclose(metrics["fitness_mean"] * 12 * evaluations, 2 * lengths.sum())
        assert es.env_steps_per_update(task) >= np.sum(metrics["simulated_env_steps"])
    # After an episode's end the environment said NaN.
    assert np.all(np.isfinite(state.moments.mean)) and np.all(np.isfinite(state.moments.m2))
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state.params))


@pytest.mark.parametrize(
    "options",
    [
        {"pop_size": 7},
        {"pop_size": 0},
        {"n_parallel_evaluations": 0},
        {"noise_reuse": -1},
        {"episode_steps": -1},
        {"sigma": 0.0},
        {"learning_rate": float("nan")},
        {"lr_decay": -1.0},
        {"sigma_decay": float("inf")},
        {"rank": 0},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        Eggroll(**options)
