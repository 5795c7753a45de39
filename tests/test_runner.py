"""The run's promises: its budget and step counts are the environment's own, its clocks leave out
what they say, seeds and start states are shared, and a run can be repeated bit for bit."""

import itertools
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from rlbench import machine, meter, runner, store
from rlbench.agents.eggroll import Eggroll
from rlbench.agents.open_es import OpenES
from rlbench.agents.random_policy import RandomPolicy
from rlbench.algorithm import Task
from rlbench.blocks import Blocks
from rlbench.config import RunConfig
from rlbench.errors import RunError
from rlbench.network import Network
from rlbench.policy import MLPPolicy
from rlbench.prepare import Prepared
from rlbench.rollout import play
from rlbench.seeding import evaluation_keys, run_streams
from tests.toy_envs import Counting, Target, steps_of_queue

NETWORK = Network(hidden=(4,), activation="tanh")
SMALL = {"pop_size": 8, "learning_rate": 0.05}


def prepared(env, algorithm, devices=1, lanes=4, **config):
    """What `prepare` makes of a real env id, for an environment of the tests."""
    values = {"budget_env_steps": 400, "eval_episodes": 8, "evaluations": 2} | config
    full = RunConfig(
        env="toy/env", algo="eggroll", network=NETWORK, settings=dict(vars(algorithm)), **values
    )
    task = Task(env, MLPPolicy(env.spec, NETWORK), Blocks(lanes, devices))
    return Prepared(full, algorithm, task)


def run(path, *args, **config):
    return runner.run(prepared(*args, **config), path / "run")


def test_live_steps_and_returns_are_those_the_environment_counted(tmp_path):
    # Counting pays 1 a live step, so its returns are its own count of them. One update:
    record = run(tmp_path, Counting(), RandomPolicy(episodes=16), budget_env_steps=1)
    (row,) = [row for row in record.rows if row["kind"] == "updates"]
    assert row["live_env_steps"] == round(row["return_mean"] * 16)
    for row in record.evaluations:
        assert row["returns"] == [float(n) for n in row["lengths"]]


def test_simulated_steps_are_those_of_lanes_that_wait_for_no_longer_than_they_must(tmp_path):
    algorithm = RandomPolicy(episodes=16)
    plan = prepared(Counting(), algorithm)
    state = algorithm.init(plan.task, run_streams(0))
    _, metrics = jax.jit(lambda s: algorithm.step(plan.task, s))(state)
    root = jax.random.fold_in(state.key, 0)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(16))
    # The episode's length is drawn by the environment's own reset, from the first half of a key.
    lengths = np.array([Counting().reset(jax.random.split(k)[0])[0].length for k in keys])
    queues = lengths.reshape(2, 8, 1)
    np.testing.assert_array_equal(metrics["live_env_steps"], queues.sum(axis=(1, 2)))
    simulated = [steps_of_queue(queue, slots=4, refill_at=1) for queue in queues]
    np.testing.assert_array_equal(metrics["simulated_env_steps"], simulated)


def test_the_budget_is_reached_and_overshot_by_less_than_one_update(tmp_path):
    record = run(tmp_path, Counting(), Eggroll(**SMALL), budget_env_steps=1000)
    status = record.status
    steps = [row["simulated_env_steps"] for row in record.rows if row["kind"] == "updates"]
    assert status["status"] == "ok"
    assert 1000 <= status["simulated_env_steps"] == steps[-1]
    most = Eggroll(**SMALL).env_steps_per_update(prepared(Counting(), Eggroll(**SMALL)).task)
    assert status["overshoot_env_steps"] == status["simulated_env_steps"] - 1000 < most


def test_a_budget_in_seconds_ends_the_run_with_the_update_that_reaches_it(tmp_path):
    seen = []
    plan = prepared(Counting(), Eggroll(**SMALL), budget_env_steps=None, budget_seconds=0.2)
    record = runner.run(plan, tmp_path / "run", seen.append)
    after_updates = [p.train_seconds for p in seen if p.phase == "training"]
    assert after_updates[-2] < 0.2 <= after_updates[-1] == record.status["train_seconds"]


def test_evaluations_stand_at_equal_fractions_of_the_budget(tmp_path):
    record = run(tmp_path, Counting(), Eggroll(**SMALL), budget_env_steps=4000, evaluations=5)
    at = [row["simulated_env_steps"] for row in record.evaluations]
    assert len(at) == 6 and at[0] == 0
    update = 8 * Counting().spec.max_steps
    for i, steps in enumerate(at[1:], start=1):
        assert 800 * i <= steps < 800 * i + update


@dataclass(frozen=True)
class Slow(Eggroll):
    """An evaluation that sleeps half a second or more, and a trace that sleeps one.

    Target shows the same observation always, so that XLA may take one queue's sleep for both.
    """

    def act(self, task, state, obs, key):
        def sleep(x):
            time.sleep(0.5 / 4)
            return x

        shape = jax.ShapeDtypeStruct((), jnp.float32)
        zero = 0.0 * jax.pure_callback(sleep, shape, obs[0], vmap_method="sequential")
        return super().act(task, state, obs + zero, key)

    def step(self, task, state):
        time.sleep(1.0)
        return super().step(task, state)


def test_the_training_clock_leaves_out_compilation_and_evaluation(tmp_path):
    start = time.perf_counter()
    # Five updates: even a starved machine spends no half second on them.
    record = run(tmp_path, Target(), Slow(**SMALL), budget_env_steps=40)
    wall = time.perf_counter() - start
    status = record.status
    evaluations = len(record.evaluations)
    assert status["eval_seconds"] >= 0.5 * evaluations
    assert status["compile_seconds"] >= 1.0
    # Had either leaked into it, training (milliseconds here) would be at least this long.
    assert status["train_seconds"] < 0.5
    assert status["train_seconds"] + status["eval_seconds"] + status["compile_seconds"] < wall


def test_a_second_trace_is_an_error():
    compiled = meter.Compiled(lambda x: x + 1, jnp.zeros(3))
    compiled(jnp.zeros(3))
    compiled.traced.traces += 1
    with pytest.raises(RuntimeError, match="traced 2 times"):
        compiled(jnp.zeros(3))


def test_buffer_bytes_see_a_large_temporary():
    def big(x):
        return jnp.sum(jnp.sort(jnp.outer(x, x), axis=0))

    few = meter.Compiled(big, jnp.zeros(64)).buffer_bytes()
    many = meter.Compiled(big, jnp.zeros(1024)).buffer_bytes()
    assert many > 1024 * 1024 * 4 > few


def test_two_algorithms_with_one_seed_start_from_the_same_weights():
    task = prepared(Target(), Eggroll(**SMALL)).task
    first, second = (
        a.init(task, run_streams(7)).params for a in (Eggroll(**SMALL), OpenES(**SMALL))
    )
    other = Eggroll(**SMALL).init(task, run_streams(8)).params
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), first, second))
    assert not jnp.array_equal(first["layers"][0]["w"], other["layers"][0]["w"])


def test_every_algorithm_and_seed_is_evaluated_from_the_same_start_states(tmp_path):
    # Counting draws an episode's length at reset: equal lengths are equal start states.
    runs = [
        run(tmp_path / str(i), Counting(), algorithm, seed=seed)
        for i, (algorithm, seed) in enumerate(
            [(Eggroll(**SMALL), 0), (OpenES(**SMALL), 0), (RandomPolicy(4), 1)]
        )
    ]
    lengths = {tuple(row["lengths"]) for record in runs for row in record.evaluations}
    assert len(lengths) == 1
    drawn = [int(Counting().reset(jax.random.split(k)[0])[0].length) for k in evaluation_keys(8)]
    assert lengths == {tuple(drawn)}
    assert len(set(drawn)) > 2


def test_the_final_evaluation_is_of_the_final_mean_policy(tmp_path):
    plan = prepared(Target(), Eggroll(**SMALL))
    record = runner.run(plan, tmp_path / "run")
    saved = load_file(record.path / "policy.safetensors")
    layers = [
        {"w": saved[f"params.layers.{i}.w"], "b": saved[f"params.layers.{i}.b"]} for i in (0, 1)
    ]
    mean, m2, n = saved["moments.mean"], saved["moments.m2"], saved["moments.n"]
    x = (1.0 - mean) / np.sqrt(max(m2.item() / n.item(), 1e-6))
    hidden = np.tanh(layers[0]["w"] @ x + layers[0]["b"])
    out = layers[1]["w"] @ hidden + layers[1]["b"]
    action = 2.0 + (np.clip(out, -1, 1) + 1.0)
    expected = -float(((action - 3.5) ** 2).item())
    assert record.evaluations[-1]["return_mean"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_run_repeats_bit_for_bit_on_any_number_of_devices(tmp_path):
    hashes = {
        run(tmp_path / f"{i}", Counting(), Eggroll(**SMALL), devices=devices).status["state_sha256"]
        for i, devices in enumerate((1, 1, 2))
    }
    assert len(hashes) == 1
    other = run(tmp_path / "other", Counting(), Eggroll(**SMALL), seed=1)
    assert other.status["state_sha256"] not in hashes


@dataclass(frozen=True)
class Diverging(Eggroll):
    def step(self, task, state):
        new, metrics = super().step(task, state)
        broken = jnp.where(new.generation >= 3, jnp.nan, 0.0)
        return new._replace(params=jax.tree.map(lambda x: x + broken, new.params)), metrics


def test_a_state_that_turns_nan_ends_the_run_as_diverged(tmp_path):
    record = run(tmp_path, Target(), Diverging(**SMALL))
    assert record.status["status"] == "diverged"
    assert "update 3" in record.status["reason"]


def test_a_signal_ends_the_run_with_what_was_learned_so_far(tmp_path):
    plan = prepared(Counting(), Eggroll(**SMALL), budget_env_steps=100_000)
    calls = []

    def stopped():
        calls.append(1)
        return len(calls) > 6

    record = runner.run(plan, tmp_path / "run", stopped=stopped)
    assert record.status["status"] == "interrupted"
    assert record.status["updates"] == 7  # it is asked after every update
    assert record.evaluations[-1]["updates"] == record.status["updates"]
    assert (record.path / "policy.safetensors").exists()


def test_stopped_again_and_again_it_has_the_rows_of_an_undisturbed_run(tmp_path):
    def plan():
        return prepared(Counting(), Eggroll(**SMALL), budget_env_steps=2_000, evaluations=7)

    def told(record):
        return [[row["updates"], row["simulated_env_steps"], row["returns"]] for row in record]

    calm = runner.run(plan(), tmp_path / "calm")
    starts = []
    for _ in range(calm.status["updates"]):
        calls = itertools.count(1)
        record = runner.run(
            plan(),
            tmp_path / "run",
            stopped=lambda calls=calls: next(calls) >= 5,
            care=runner.Care(resume=True),
        )
        starts.append(record.status["updates"])
        if record.status["status"] == "ok":
            break
    # Between two evaluations, and right after one.
    assert len(starts) >= 4 and record.status["status"] == "ok"
    assert told(record.evaluations) == told(calm.evaluations) and len(calm.evaluations) == 8
    for name in ("state_sha256", "updates", "live_env_steps", "eval_env_steps"):
        assert record.status[name] == calm.status[name]
    assert [e["updates"] for e in record.provenance["resumed_from"]] == starts[:-1]


@dataclass(frozen=True)
class Failing(Eggroll):
    def step(self, task, state):
        raise ValueError("no such thing")


def test_a_failure_is_recorded_as_such(tmp_path):
    with pytest.raises(RunError, match="no such thing"):
        run(tmp_path, Target(), Failing(**SMALL))
    record = store.read_run(tmp_path / "run")
    assert record.status["status"] == "failed"
    assert "no such thing" in record.status["reason"]


class Costless(Counting):
    """Pays NaN in an episode's second step."""

    def step(self, key, state, action):
        new, now = super().step(key, state, action)
        return new, now._replace(reward=jnp.where(new.t == 2, jnp.nan, now.reward))


def test_returns_that_are_not_finite_end_the_run_as_diverged(tmp_path):
    record = run(tmp_path, Costless(), RandomPolicy(episodes=16))
    lengths = np.array(record.evaluations[0]["lengths"])
    lost = int((lengths >= 2).sum())
    assert lost > 0
    assert record.status["status"] == "diverged" and record.status["updates"] == 0
    assert f"{lost} of {len(lengths)} returns of an evaluation" in record.status["reason"]
    assert record.rows[-1]["nonfinite"] and record.rows[-1]["returns"].count(None) == lost


def test_progress_reaches_the_end_and_names_its_phases(tmp_path):
    seen = []
    runner.run(prepared(Counting(), Eggroll(**SMALL)), tmp_path / "run", seen.append)
    assert {p.phase for p in seen} == {"compiling", "evaluating", "training"}
    assert seen[-1].fraction >= 1.0
    assert [p.fraction for p in seen] == sorted(p.fraction for p in seen)


def test_provenance_tells_the_machine_and_not_who_owns_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    text = str(machine.provenance())
    assert "hunter2" not in text
    told = machine.provenance()
    assert told["versions"]["jax"] == jax.__version__
    assert told["hardware"]["device_count"] == len(jax.devices())
    assert {"argv", "commit", "dirty", "jax"} <= set(told)


def test_evaluation_plays_complete_episodes_even_if_training_cuts_them(tmp_path):
    @dataclass(frozen=True)
    class Long(Counting):
        longest: int = 12

    cut = replace(Eggroll(**SMALL), episode_steps=2)
    record = run(tmp_path, Long(), cut)
    assert max(record.evaluations[-1]["lengths"]) > 2
    plan = prepared(Long(), cut)
    state = cut.init(plan.task, run_streams(0))
    _, metrics = jax.jit(lambda s: cut.step(plan.task, s))(state)
    assert np.sum(metrics["live_env_steps"]) <= 8 * 2


def test_random_play_in_the_rollout_is_the_algorithm_s_random_policy():
    task = prepared(Target(), RandomPolicy(4)).task
    algorithm = RandomPolicy(4)
    state = algorithm.init(task, run_streams(0))

    act = jax.vmap(jax.vmap(lambda o, k: algorithm.act(task, state, o, k)))
    keys = evaluation_keys(512)[:, None]
    played = play(task.env, lambda _, o, k: act(o, k), keys, horizon=1, slots=512, refill_at=1)
    # Actions uniform on [2, 4], goal 3.5: mean of -(a - 3.5)^2 is -(0.25 + 1/3), variance below 1.
    assert float(played.returns.mean()) == pytest.approx(-(0.25 + 1 / 3), abs=5 / 512**0.5)


def test_run_directories_are_told_apart_by_all_but_seed_and_labels():
    base = RunConfig(env="toy/env", algo="eggroll", budget_env_steps=1000)
    same = replace(base, seed=3, suite="other", settings_source="elsewhere", host_devices=2)
    assert base.hash == same.hash
    for change in (
        {"budget_env_steps": 2000},
        {"network": NETWORK},
        {"settings": {"sigma": 0.1}},
        {"eval_episodes": 32},
        {"block_lanes": 32},
        {"env": "toy/other"},
    ):
        assert replace(base, **change).hash != base.hash
    path = store.run_path(Path("out"), same)
    assert path == Path(f"out/other/toy-env/eggroll-{base.hash}/seed-0003")


def test_sums_of_products_are_right_as_runs_are_compiled():
    """Beyond 32,768 results jaxlib 0.10.2's own choice of a library gets these wrong."""
    rng = np.random.default_rng(0)
    x, b, a = (rng.standard_normal(s).astype(np.float32) for s in ((2, 5), (4000, 5), (4000, 6)))

    def product(x, b, a):
        return jnp.sum(x * b[:, None], -1, keepdims=True) * a[:, None]

    found = meter.Compiled(product, x, b, a)(x, b, a)
    wanted = np.einsum("si,pi,po->pso", x.astype(np.float64), b, a)
    assert np.abs(np.asarray(found) - wanted).max() < 1e-4
