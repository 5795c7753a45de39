"""The bridge to evosax: fitness and sign, the papers' updates in float64, CMA-ES against pycma, and
what is refused. Strategies are driven with fitness of our own, or play what is known by hand."""

import json
import re
from functools import cache

import cma
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.agents._evosax import ASK, PLAY, TELL, EvosaxState
from rlbench.agents.ars import ARS
from rlbench.agents.cma_es import CMAES
from rlbench.agents.pgpe import PGPE
from rlbench.agents.simple_ga import SimpleGA
from rlbench.agents.snes import SNES
from rlbench.algorithm import Task
from rlbench.blocks import Blocks
from rlbench.cli import main
from rlbench.network import Network
from rlbench.policy import MLPPolicy
from rlbench.registry import bridged, find_agent
from rlbench.seeding import run_streams
from tests.toy_envs import Drift, Match, Target, as64, network64, quick

# evosax's ClipUp, driven by hand.
pytestmark = pytest.mark.filterwarnings("ignore:optax.global_norm:DeprecationWarning")

AGENTS = [
    ARS(pop_size=16, learning_rate=0.1, sigma=0.1),
    PGPE(pop_size=16, sigma=0.1),
    SNES(pop_size=16, sigma=0.1),
    CMAES(pop_size=16, sigma=0.1),
    SimpleGA(pop_size=16, sigma=0.1),
]
SMALL = Network(hidden=(4,), activation="tanh")


def name_of(agent):
    return type(agent).__name__


def task_on(env, devices=1, lanes=4):
    return Task(env, MLPPolicy(env.spec, SMALL), Blocks(lanes, devices))


def played(agent, task, generations, compiled=quick):
    """The states of so many generations, the first one included."""
    step = compiled(lambda state: agent.step(task, state))
    start = quick(lambda keys: agent.init(task, keys))(run_streams(0))
    states = [jax.device_put(start, task.blocks.replicated)]
    metrics = []
    for _ in range(generations):
        state, told = step(states[-1])
        states.append(state)
        metrics.append(told)
    return states, metrics


@cache
def on_target(agent):
    """30 generations on Target."""
    return played(agent, task_on(Target()), 30)


@pytest.mark.parametrize("agent", AGENTS, ids=name_of)
def test_a_generation_is_that_of_evosax_driven_by_hand(agent):
    # Target pays -(action - 3.5)^2 in one step, so fitness is known without playing anything.
    task, (states, metrics) = task_on(Target()), on_target(agent)
    states, metrics = states[:3], metrics[:2]
    strategy = agent._strategy(task)
    for state, after, told in zip(states, states[1:], metrics, strict=False):
        root = jax.random.fold_in(state.key, state.generation)
        ask, tell, _ = (jax.random.fold_in(root, use) for use in (ASK, TELL, PLAY))
        population, asked = strategy.es.ask(ask, state.strategy, strategy.params)
        if not strategy.has_mean and not state.generation:
            population = strategy.es.get_population(state.strategy)
        members = as64(population)
        sees = np.array([1.0])  # what Target shows, and the first generation has seen nothing else
        if state.generation:
            sees = (sees - 1.0) / 1e-3
        fitness = []
        for i in range(agent.pop_size):
            layers = [{k: v[i] for k, v in layer.items()} for layer in members["layers"]]
            out = np.clip(network64(layers, "tanh", sees), -1.0, 1.0)
            fitness.append(-float((2.0 + (out[0] + 1.0) - 3.5) ** 2))
        np.testing.assert_allclose(told["fitness_max"], max(fitness), rtol=1e-4, atol=1e-6)
        loss = -jnp.asarray(fitness, jnp.float32)
        expected, _ = strategy.es.tell(tell, population, loss, asked, strategy.params)
        if not strategy.has_mean and not state.generation:
            expected = strategy.es.init(tell, population, loss, strategy.params)
        want = agent.weights(task, state._replace(strategy=expected))
        for x, y in zip(*map(jax.tree.leaves, (want, agent.weights(task, after))), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("agent", AGENTS, ids=name_of)
def test_higher_returns_are_sought(agent):
    metrics = on_target(agent)[1]
    start, end = (float(metrics[i]["fitness_mean"]) for i in (0, -1))
    assert start < -0.8 and end > -0.1 and not np.isnan(end)


@pytest.mark.parametrize(
    ("agent", "env"),
    [
        (AGENTS[2], Drift()),
        (AGENTS[4], Match(discrete=True)),
        pytest.param(AGENTS[2], Match(discrete=True), marks=pytest.mark.slow),
        pytest.param(AGENTS[4], Drift(), marks=pytest.mark.slow),
    ],
    ids=lambda x: x.spec.id if hasattr(x, "spec") else name_of(x),
)
def test_one_and_two_devices_give_the_same_bits(agent, env):
    one, two = (played(agent, task_on(env, devices), 2, jax.jit)[0][-1] for devices in (1, 2))
    for x, y in zip(*map(jax.tree.leaves, (one, two)), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


def told(agent, returns, generations=1):
    """States and populations (float64) of a strategy in 3-D whose members returned these."""
    es, params = agent.strategy(jnp.zeros(3))
    mean = jnp.asarray([0.3, -0.2, 0.1])
    state = es.init(jax.random.key(0), mean, params)
    steps = []
    for g in range(generations):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), g))
        population, state = es.ask(keys[0], state, params)
        after, _ = es.tell(keys[1], population, -jnp.asarray(returns[g]), state, params)
        steps.append((state, np.asarray(population, np.float64), after))
        state = after
    return steps


RETURNS = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)


@pytest.mark.parametrize("top", [0, 2])
def test_ars_takes_the_paper_s_step(top):
    agent = ARS(pop_size=12, sigma=0.05, learning_rate=0.02, top_directions=top, lr_decay=0.5)
    for g, (before, population, after) in enumerate(told(agent, RETURNS, 3)):
        mean, r = np.asarray(before.mean, np.float64), RETURNS[g].astype(np.float64)
        delta = (population[:6] - mean) / 0.05
        np.testing.assert_allclose(population[6:], 2 * mean - population[:6], atol=1e-6)
        best = np.argsort(-np.maximum(r[:6], r[6:]))[: top or 6]
        spread = np.concatenate([r[:6][best], r[6:][best]]).std()
        step = ((r[:6] - r[6:])[best, None] * delta[best]).sum(0) / (len(best) * spread)
        np.testing.assert_allclose(after.mean, mean + 0.02 * 0.5**g * step, rtol=1e-4, atol=1e-6)


def test_ars_counts_every_number_of_directions():
    for pairs in (5, 22, 64, 230, 512):
        for top in range(1, pairs + 1):
            agent = ARS(pop_size=2 * pairs, top_directions=top)
            assert agent.strategy(jnp.zeros(3)).es.num_elites == top


def test_pgpe_takes_the_paper_s_step_with_clipup():
    agent = PGPE(pop_size=12, sigma=0.2, learning_rate=0.1, max_speed=1.5, sigma_learning_rate=0.5)
    velocity = np.zeros(3)
    for g, (before, population, after) in enumerate(told(agent, RETURNS, 3)):
        mean, sigma = np.asarray(before.mean, np.float64), np.asarray(before.std, np.float64)
        ranks = RETURNS[g].argsort().argsort() / 11 - 0.5
        up, down, noise = ranks[:6], ranks[6:], population[:6] - mean
        gradient = (0.5 * (up - down)[:, None] * noise).mean(0)
        velocity = 0.9 * velocity + 0.1 * gradient / np.linalg.norm(gradient)
        velocity *= min(1.0, 0.15 / np.linalg.norm(velocity))
        np.testing.assert_allclose(after.mean, mean + velocity, rtol=1e-4, atol=1e-6)
        advantage = 0.5 * (up + down) - ranks.mean()
        rise = 0.5 * (advantage[:, None] * (noise**2 - sigma**2) / sigma).mean(0)
        want = np.clip(sigma + rise, 0.8 * sigma, 1.2 * sigma)
        np.testing.assert_allclose(after.std, want, rtol=1e-4)


def test_snes_takes_the_paper_s_step():
    agent = SNES(pop_size=12, sigma=0.2, learning_rate=1.0)
    rank = np.arange(1, 13)
    utility = np.maximum(0.0, np.log(12 / 2 + 1) - np.log(rank))
    utility = utility / utility.sum() - 1 / 12
    rate = (3 + np.log(3)) / (5 * np.sqrt(3))
    for g, (before, population, after) in enumerate(told(agent, RETURNS, 3)):
        mean, sigma = np.asarray(before.mean, np.float64), np.asarray(before.std, np.float64)
        order = np.argsort(-RETURNS[g])
        s = ((population - mean) / sigma)[order]
        np.testing.assert_allclose(after.mean, mean + sigma * (utility @ s), rtol=1e-4, atol=1e-6)
        want = sigma * np.exp(rate / 2 * (utility @ (s**2 - 1)))
        np.testing.assert_allclose(after.std, want, rtol=1e-4)


@pytest.mark.parametrize("agent", [SNES(pop_size=12), CMAES(pop_size=12)], ids=name_of)
def test_members_of_equal_fitness_share_their_weights(agent):
    es, params = agent.strategy(jnp.zeros(3))
    whole = np.asarray(params.weights, np.float64)
    returns = np.float32([5, 9, 9, 9, 1, 9, 2, 2, 9, 9, 0, 9])
    got = es.fitness_shaping_fn(None, -jnp.asarray(returns), None, params)
    order = np.argsort(-returns, kind="stable")
    want = np.empty(12)
    for value in set(returns.tolist()):
        want[returns == value] = whole[returns[order] == value].mean()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    distinct = jnp.arange(12.0)
    np.testing.assert_array_equal(
        es.fitness_shaping_fn(None, distinct, None, params), params.weights
    )


def test_simple_ga_keeps_its_best_and_mutates_the_elite():
    agent = SimpleGA(pop_size=40, sigma=0.1, elite_ratio=0.1)
    es, params = agent.strategy(jnp.zeros(500))
    first = jax.random.normal(jax.random.key(0), (40, 500))
    returns = jax.random.permutation(jax.random.key(1), jnp.arange(40.0))
    state = es.init(jax.random.key(2), first, -returns, params)
    children, _ = es.ask(jax.random.key(3), state, params)
    np.testing.assert_array_equal(children[0], first[jnp.argmax(returns)])
    elite = np.asarray(first[jnp.argsort(-returns)[:4]])
    far = np.asarray(children)[1:, None] - elite[None]
    nearest = np.abs(far).sum(-1).argmin(1)
    steps = far[np.arange(39), nearest]
    # Parents a distance of sqrt(2 x 500) apart cannot be mistaken; 39 x 500 steps of N(0, 0.1^2).
    assert len(set(nearest)) == 4
    assert abs(steps.std() - 0.1) < 4 * 0.1 / np.sqrt(2 * steps.size)
    assert abs(steps.mean()) < 4 * 0.1 / np.sqrt(steps.size)


def sphere(x):
    return (x * x).sum(-1)


def ellipsoid(x):
    return (10.0 ** (6.0 * np.arange(x.shape[-1]) / (x.shape[-1] - 1)) * x * x).sum(-1)


PROBLEMS = {
    "sphere": (sphere, 10, 10, 1e-6, "full"),
    "ellipsoid": (ellipsoid, 10, 10, 1e-3, "full"),
    "separable ellipsoid": (ellipsoid, 20, 12, 1e-3, "separable"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_cma_es_needs_as_many_evaluations_as_pycma(problem):
    f, size, population, target, covariance = PROBLEMS[problem]
    theirs, ours = [], []
    es, params = CMAES(pop_size=population, sigma=1.0, covariance=covariance).strategy(
        jnp.zeros(size)
    )

    @jax.jit
    def generations(key):
        def step(c):
            state, g, _ = c
            ask, tell = jax.random.split(jax.random.fold_in(key, g))
            x, state = es.ask(ask, state, params)
            loss = f(x)
            state, _ = es.tell(tell, x, loss, state, params)
            return state, g + 1, jnp.min(loss)

        start = (es.init(key, jnp.full(size, 3.0), params), 0, jnp.inf)
        # From a generation's own state on, so that types are those of every later one.
        return jax.lax.while_loop(lambda c: (c[2] > target) & (c[1] < 5000), step, step(start))[1]

    for seed in range(9):
        options = {"seed": seed + 1, "popsize": population, "verbose": -9, "ftarget": target}
        options |= {"CMA_diagonal": covariance == "separable", "tolfun": 0, "tolfunhist": 0}
        run = cma.CMAEvolutionStrategy(np.full(size, 3.0), 1.0, options).optimize(f)
        theirs.append(run.result.evaluations)
        ours.append(int(generations(jax.random.key(seed))) * population)
    ratio = np.median(ours) / np.median(theirs)
    assert 0.75 < ratio < 1.33, (ours, theirs)


def test_the_covariance_is_full_where_it_can_be():
    small, large = (CMAES().strategy(jnp.zeros(n)).es for n in (1000, 1001))
    assert type(small).__name__ == "CMA_ES" and type(large).__name__ == "Sep_CMA_ES"


def test_the_bridge_s_names_are_those_of_evosax():
    from evosax.algorithms import algorithms

    table = bridged()
    assert set(table["names"]) | set(table["refused"]) == set(algorithms)
    assert not set(table["names"]) & set(table["refused"])
    assert find_agent("evosax/xNES").make == "rlbench.agents.evosax_strategies:xNES"


@pytest.mark.parametrize(
    ("algo", "extra", "words"),
    [
        ("evosax/SNE", [], "unknown algo 'evosax/SNE'; did you mean 'SNES'"),
        ("evosax/GuidedES", [], "needs a surrogate gradient"),
        ("evosax/SNES", ["params={std_ini=1}"], "no parameter 'std_ini'; did you mean 'std_init'"),
        ("evosax/SimpleGA", ["learning_rate=0.1"], "has no optimiser"),
        (
            "ars",
            ["pop_size=7"],
            "of at least 2 (mirrored pairs), not 7; the nearest is 8",
        ),
        ("ars", ["pop_size=8", "top_directions=5"], "at most pop_size / 2 = 4"),
        ("cma_es", ["covariance=ful"], "did you mean 'full'"),
        (
            "cma_es",
            ["hidden=[450, 450]", "covariance=full"],
            "CMA-ES with 206,102 weights and pop_size 256 needs at least",
        ),
        ("evosax/xNES", ["hidden=[256, 256, 256]"], "xNES with 133,378 weights"),
        ("simple_ga", ["elite_ratio=0"], "elite_ratio must be a positive"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_allocated(
    algo, extra, words, tmp_path, capfd
):
    out = tmp_path / "out"
    settings = [word for one in extra for word in ("--set", one)]
    assert main(["run", "--env", "cartpole", "--algo", algo, "--out", str(out), *settings]) == 2
    error = capfd.readouterr().err
    assert words in error and error.count("\n") == 1 and not out.exists()
    if "GiB" in error:
        need, there = map(float, re.findall(r"([\d.]+) GiB", error.replace(",", "")))
        assert need > there


def test_a_strategy_by_name_runs_and_its_folder_has_a_name(tmp_path, capfd):
    argv = ["run", "--env", "cartpole", "--algo", "evosax/xNES", "--out", str(tmp_path), "--quiet"]
    argv += ["--set", "pop_size=8", "--set", "hidden=[4]", "--budget", "8e3"]
    assert main([*argv, "--eval-episodes", "4"]) == 0
    (path,) = tmp_path.glob("adhoc/gymnax-CartPole-v1/evosax-xNES-*/seed-0000")
    assert json.loads((path / "config.json").read_text())["algo"] == "evosax/xNES"


@pytest.mark.slow
@pytest.mark.parametrize("name", bridged()["names"])
def test_every_strategy_of_the_bridge_learns_something_finite(name):
    from rlbench.contract import make_agent

    agent = make_agent(find_agent(f"evosax/{name}"), {"pop_size": 16})
    states, metrics = played(agent, task_on(Target()), 3)
    assert isinstance(states[-1], EvosaxState)
    for x in jax.tree.leaves(states[-1].strategy):
        assert not jnp.issubdtype(x.dtype, jnp.floating) or bool(jnp.all(jnp.isfinite(x)))
    assert np.isfinite(float(metrics[-1]["fitness_mean"]))
