"""The benchmark's arithmetic, its files and its mistakes; never its times."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.algorithm import Task
from rlbench.bench import driver, naive, report, setup
from rlbench.bench.cases import Case, cases, select
from rlbench.bench.ratios import PAIRS, ratios
from rlbench.bench.schema import validate
from rlbench.bench.timing import interleaved
from rlbench.blocks import Blocks
from rlbench.cli import main
from rlbench.network import Network
from rlbench.policy import MLPPolicy
from rlbench.seeding import run_streams
from tests.toy_envs import Counting, Target, as64, network64, quick

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = Case("start/one", "start", {"rounds": 1, "host_devices": None}, quick=True)


def task_of(env, network):
    return Task(env, MLPPolicy(env.spec, network), Blocks(8))


# Timing.


def test_variants_are_timed_in_turn_and_a_sample_is_the_mean_of_its_calls():
    now, order = [0.0], []

    def variant(name, seconds):
        def call():
            order.append(name)
            now[0] += seconds[min(order.count(name) - 1, len(seconds) - 1)]

        return call

    # A lasts 1 s, and later 3 s; B always 4 s: to fill 2 s takes two calls of A and one of B.
    variants = {"A": variant("A", [1.0, 1.0, 1.0, 2.0, 4.0]), "B": variant("B", [4.0])}
    samples = interleaved(variants, rounds=2, min_seconds=2.0, clock=lambda: now[0])
    assert order == [*"AB", *"AAB", *"AAB"]
    assert samples == {"A": [1.0, 3.0], "B": [4.0, 4.0]}


# Ratios.


def test_a_ratio_is_taken_within_each_round():
    samples = {"naive": [4.0, 6.0, 30.0], "eggroll": [2.0, 2.0, 3.0], "open_es": [1.0, 1.0, 1.0]}
    found = ratios("peers", samples)
    assert set(found) == {"naive / eggroll", "naive / open_es"}
    told = {"over": "naive", "under": "eggroll", "median": 3.0, "low": 2.0, "high": 10.0}
    assert found["naive / eggroll"] == told
    assert ratios("no such kind", samples) == {}


def test_the_line_over_populations_is_the_least_squares_one():
    xs = np.array([64.0, 128.0, 256.0, 4096.0])
    ys = 0.5 + 0.01 * xs + np.array([0.1, -0.2, 0.05, 0.3])
    slope, intercept, r2 = report.fit(list(zip(xs, ys, strict=True)))
    np.testing.assert_allclose((slope, intercept), np.polyfit(xs, ys, 1))
    np.testing.assert_allclose(r2, np.corrcoef(xs, ys)[0, 1] ** 2)


def test_devices_are_those_a_process_had_and_failed_cases_are_left_out():
    def case(devices, asked, seconds):
        params = {"env": "ant", "axis": "devices", "host_devices": asked}
        return {"params": params, "samples": {"eggroll": seconds}, "values": {"devices": devices}}

    one, two = case(1, 1, [3.0, 6.0, 9.0]), case(2, 2, [4.0])
    (note,) = report.scaling_notes([one, {"failed": "why"}, two])
    assert note.startswith("ant: 2 host devices are 1.5x as fast as 1")
    assert report.scaling_notes([one, case(1, 2, [4.0])]) == []


# Cases.


@pytest.mark.parametrize(("quick_", "large"), [(True, False), (False, False), (False, True)])
def test_names_are_unique_and_quick_is_a_choice_of_its_own(quick_, large):
    found = cases(quick_, large)
    assert len({case.name for case in found}) == len(found)
    assert all(case.quick == quick_ for case in found)
    assert {case.kind for case in found} >= PAIRS.keys()
    json.dumps([case.params for case in found])


def test_only_selects_by_the_beginning_of_the_name():
    chosen = select(cases(False, False), "scaling/devices")
    assert [case.params["host_devices"] for case in chosen] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "offered"),
    [
        (["--only", "pears"], "did you mean 'peers'?"),
        (["--quik"], "did you mean '--quick'"),
        (["--quick", "--large"], "leave one out"),
        (["--only", "start/commands", "--out", "pyproject.toml"], "cannot write to"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    arguments, offered, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(driver, "bench", lambda *given: pytest.fail("was run"))
    assert main(["bench", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1 and offered in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]


# Files.


def test_a_real_run_writes_valid_json_whose_ratios_follow_from_its_samples(tmp_path):
    command = [sys.executable, "-m", "rlbench", "bench", "--quick", "--only", "memory"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(tmp_path / "bench.json") in done.stdout
    data = json.loads((tmp_path / "bench.json").read_text())
    validate(data)
    assert data["provenance"]["hardware"]["usable_cores"] >= 1
    (case,) = data["cases"]
    assert case["ratios"].keys() == {"naive / eggroll", "naive / open_es"}
    for ratio in case["ratios"].values():
        over, under = case["samples"][ratio["over"]], case["samples"][ratio["under"]]
        each = [a / b for a, b in zip(over, under, strict=True)]
        assert (ratio["median"], ratio["low"], ratio["high"]) == (
            median(each),
            min(each),
            max(each),
        )
    # A copy of every weight for each of 64 members, and one set of rank-1 factors a pair.
    assert case["samples"]["naive"][0] > 64 * 4 * (4 * 16 + 16 + 16 * 2 + 2)
    table = (tmp_path / "bench.md").read_text()
    assert "naive / eggroll" in table and case["name"] in table


def test_a_failed_process_is_recorded_and_the_rest_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "provenance", dict)
    bad = Case("bad", "no such kind", {"host_devices": None}, quick=True)
    slow = Case("slow", "start", {"rounds": 10**6, "host_devices": None}, True, timeout=0.5)
    told = []
    data = driver.bench(
        [bad, slow, COMMANDS], tmp_path / "bench.json", ["--quick"], True, lambda *x: told.append(x)
    )
    validate(data)
    assert json.loads((tmp_path / "bench.json").read_text()) == data
    failed, late, good = data["cases"]
    assert "no such kind" in failed["failed"] and "not done after 0.5 s" in late["failed"]
    assert set(good["samples"]) == {"--help", "list envs", "list agents"}
    assert [(name, done) for name, done, _, _ in told] == [
        ("bad", 0),
        ("slow", 1),
        ("start/one", 2),
    ]
    assert "not done after" in report.markdown(data)


GOOD = {
    "name": "a",
    "kind": "k",
    "params": {},
    "seconds": 1.0,
    "samples": {"x": [1.0], "y": [2.0]},
    "ratios": {"x / y": {"over": "x", "under": "y", "median": 0.5, "low": 0.5, "high": 0.5}},
    "values": {},
}


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3},
        {"params": None},
        {"seconds": "1"},
        {"seconds": True},
        {"samples": {"x": ["1"], "y": [2.0]}},
        {"samples": {"x": [1.0]}},
        {"ratios": {"x / y": {"over": "x", "under": "y"}}},
        {"skipped": "and yet measured"},
    ],
)
def test_the_schema_refuses_what_is_missing_or_of_another_type(change):
    top = {"schema": 1, "started": "", "ended": "", "command": "", "quick": True}
    top |= {"load_before": [0.1, 0.2, 0.3], "provenance": {}}
    validate({**top, "cases": [GOOD, {"name": "b", "kind": "k", "params": {}, "skipped": "why"}]})
    with pytest.raises(ValueError, match="a"):
        validate({**top, "cases": [{**GOOD, **change}]})
    with pytest.raises(ValueError, match="one name"):
        validate({**top, "cases": [GOOD, GOOD]})
    for name in top:
        with pytest.raises(ValueError, match=name):
            validate({k: v for k, v in {**top, "cases": []}.items() if k != name})


# The naive ES.


def test_a_naive_generation_is_the_one_of_float64():
    env, population, sigma, rate = Target(), 6, 0.3, 0.01
    task = task_of(env, Network((4,), "tanh", 0.1))
    init, step = naive.generation(task, population, sigma, rate, horizon=1)
    state = init(run_streams(3))
    new, metrics = quick(step)(state)

    noise = as64(naive.draw(jax.random.split(state.key, 3)[1], state.params, population // 2))
    noise = jax.tree.map(lambda e: np.concatenate([e, -e]), noise)
    params = as64(state.params)
    returns = []
    for i in range(population):
        member = jax.tree.map(lambda p, e, i=i: p + sigma * e[i], params, noise)
        (out,) = network64(member["layers"], "tanh", np.ones(1))
        action = 2.0 + (np.clip(out, -1.0, 1.0) + 1.0)
        returns.append(-((action - env.goal) ** 2))
    weights = (np.array(returns) - np.mean(returns)) / np.std(returns)
    ascent = jax.tree.map(
        lambda e: np.einsum("n,n...->...", weights, e) / (population * sigma), noise
    )
    assert int(metrics["live_env_steps"]) == population

    def close(got, wanted):
        np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=1e-6)

    # Adam's first step hides the gradient's size; its first moment is a tenth of it.
    jax.tree.map(lambda m, g: close(m, -0.1 * g), new.optimizer[0].mu, ascent)
    jax.tree.map(
        lambda p, q, g: close(q, p + rate * g / (abs(g) + 1e-8)), params, new.params, ascent
    )


@pytest.mark.parametrize("horizon", [3, 12])
def test_naive_rollouts_count_until_the_end_and_not_beyond(horizon):
    env = Counting()
    task = task_of(env, Network((), "tanh"))
    keys = jax.random.split(jax.random.key(1), 16)
    params = task.policy.init(jax.random.key(0))
    members = jax.tree.map(lambda x: jnp.broadcast_to(x, (16, *x.shape)), params)
    returns, lengths = quick(lambda m, k: naive.rollouts(task, m, k, horizon))(members, keys)
    drawn = [int(env.reset(jax.random.split(key)[0])[0].length) for key in keys]
    np.testing.assert_array_equal(lengths, np.minimum(drawn, horizon))
    np.testing.assert_array_equal(returns, np.minimum(drawn, horizon))


def test_the_unending_environment_only_leaves_out_the_ends():
    env = Counting(longest=1)
    state, _ = env.reset(jax.random.key(0))
    ends = env.step(jax.random.key(1), state, jnp.int32(0))[1]
    goes_on = setup.Unending(env).step(jax.random.key(1), state, jnp.int32(0))[1]
    assert bool(ends.terminated) and not bool(goes_on.terminated | goes_on.truncated)
    assert float(goes_on.reward) == float(ends.reward) and setup.Unending(env).spec == env.spec
