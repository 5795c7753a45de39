"""A trained policy leaves the harness and scores in Gymnasium what its run says; what cannot be
exported or judged is refused in one sentence."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.algorithm import Task, evaluate
from rlbench.arrays import state_hash
from rlbench.blocks import Blocks
from rlbench.cli import main
from rlbench.comparison import interval_of_difference, sample
from rlbench.export import export_run, restore_run
from rlbench.exported import read_export
from rlbench.fitting import EVAL_LANES
from rlbench.judge import hear
from rlbench.seeding import evaluation_keys
from rlbench.state import state_arrays
from rlbench.store import read_run
from tests.records import alter

ROOT = Path(__file__).resolve().parents[1]
MANY = ["--eval-episodes", "256"]  # where the means of policies with spread are compared
HALF = ["--set", "pop_size=16", "--set", "learning_rate=0.01", "--budget", "8e3", *MANY]
PLAYED = "gymnasium/CartPole-v1"


def train(out: Path, *flags: str) -> Path:
    assert main(["run", "--env", "cartpole", "--out", str(out), "--quiet", *flags]) == 0
    (status,) = out.glob("**/status.json")
    return status.parent


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The laptop settings at their full budget."""
    return train(tmp_path_factory.mktemp("learned"), "--algo", "eggroll")


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Stopped long before the score's upper bound, so that episodes differ."""
    return train(tmp_path_factory.mktemp("half"), "--algo", "eggroll", *HALF)


@pytest.fixture(scope="module")
def ppo(tmp_path_factory):
    return train(tmp_path_factory.mktemp("ppo"), "--algo", "ppo", "--budget", "2e4", *MANY)


def only_progress(text):
    """Whether nothing but progress was told, which a busy machine sees after two seconds."""
    return all("episodes · " in line for line in text.splitlines())


def test_a_learned_policy_is_exported_and_scores_500_in_gymnasium(learned, tmp_path, capfd):
    out, told = tmp_path / "policy", tmp_path / "verdict.json"
    assert main(["export", str(learned), "--out", str(out)]) == 0
    assert "return 500 ± 0 over 64 episodes" in capfd.readouterr().out
    assert main(["play", str(out), "--env", PLAYED, "--out", str(told)]) == 0
    shown = capfd.readouterr()
    assert "they agree" in shown.out and only_progress(shown.err)
    verdict = json.loads(told.read_text())
    assert verdict["returns"] == [500.0] * 100 and verdict["lengths"] == [500] * 100
    assert verdict["agree"] and verdict["difference_interval"] == [0.0, 0.0]
    assert verdict["policy"]["state_sha256"] == read_run(learned).status["state_sha256"]


def test_an_export_is_judged_without_jax(half, tmp_path):
    assert main(["export", str(half), "--out", str(tmp_path / "out")]) == 0
    code = (
        "import sys; from rlbench.cli import main; "
        "assert main(['play', sys.argv[1], '--env', 'gymnasium/CartPole-v1']) == 0; "
        "assert not {'jax', 'brax', 'gymnax'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "they agree" in done.stdout and only_progress(done.stderr)


@pytest.mark.parametrize("run", ["half", "ppo"])
def test_a_policy_short_of_the_upper_bound_scores_the_same_in_gymnasium(run, request):
    policy = export_run(request.getfixturevalue(run))
    final = policy.card.final_return
    assert 50 < final.mean < 450 and final.std > 20
    verdict = hear(policy, PLAYED, 200, 1000)
    # Four standard errors: what chance does once in 16,000 comparisons.
    error = (verdict.played.squared_error + verdict.run.squared_error) ** 0.5
    assert abs(verdict.difference) < 4 * error < 35
    assert verdict.library.startswith("gymnasium 1.")
    assert verdict.notes == []
    ours = hear(policy, "cartpole", 200, 0)
    low, high = interval_of_difference(sample(verdict.returns), sample(ours.returns))
    middle, width = (low + high) / 2, (high - low) / 2
    assert abs(middle) < 2 * width < 40
    assert ours.returns == [float(n) for n in ours.lengths]


def test_our_own_episodes_are_none_of_the_evaluation_and_follow_the_seed(half):
    policy, final = export_run(half), read_run(half).evaluations[-1]["returns"]
    a, again, b = (hear(policy, "cartpole", len(final), seed).returns for seed in (0, 0, 1))
    assert a == again != b
    assert a != final != b
    assert len(set(a)) > 20


@pytest.mark.parametrize("run", ["learned", "half", "ppo"])
def test_a_restored_state_is_the_recorded_one_and_evaluates_to_the_recorded_returns(run, request):
    record = read_run(request.getfixturevalue(run))
    prepared, state = restore_run(record)
    assert state_hash(state_arrays(state)) == record.status["state_sha256"]
    blocks = Blocks(EVAL_LANES, prepared.task.blocks.devices)
    calm = Task(prepared.task.env, prepared.task.policy, blocks)
    final = record.evaluations[-1]["returns"]
    keys = jax.device_put(evaluation_keys(len(final)), blocks.replicated)
    state = jax.device_put(state, blocks.replicated)
    play = jax.jit(lambda state, keys: evaluate(prepared.algorithm, calm, state, keys).returns)
    np.testing.assert_array_equal(play(state, keys), jnp.asarray(final))


def test_the_default_folder_is_in_the_run_and_is_not_replaced_unasked(half, capfd):
    assert main(["export", str(half)]) == 0
    card = half / "export" / "policy.json"
    assert read_export(half / "export").card.env == "gymnax/CartPole-v1"
    before = card.read_bytes()
    card.write_bytes(b"mine")
    capfd.readouterr()
    assert main(["export", str(half)]) == 2
    error = capfd.readouterr().err
    assert "--overwrite" in error and error.count("\n") == 1 and card.read_bytes() == b"mine"
    assert main(["export", "--overwrite", str(half)]) == 0
    assert card.read_bytes() == before
    shutil.rmtree(half / "export")


def test_a_changed_run_directory_is_noticed(half, tmp_path, capfd):
    def altered(name, change):
        copy = tmp_path / name
        shutil.copytree(half, copy)
        change(copy)
        assert main(["export", str(copy), "--out", str(tmp_path / "out")]) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1 and not (tmp_path / "out").exists()
        return error

    def flip(copy):
        content = bytearray((copy / "policy.safetensors").read_bytes())
        content[-5] ^= 16
        (copy / "policy.safetensors").write_bytes(content)

    def widen(copy):
        alter(copy, "config.json", lambda config: config["network"].update(hidden=[65]))

    def diverge(copy):
        alter(copy, "status.json", {"status": "diverged"})

    assert "its sha256 is another" in altered("flipped", flip)
    assert "must be float32 of shape (65," in altered("widened", widen)
    assert "its status is 'diverged'" in altered("diverged", diverge)
    missing = altered("missing", lambda copy: (copy / "policy.safetensors").unlink())
    assert "cannot read" in missing
    cut = altered("cut", lambda copy: (copy / "policy.safetensors").write_bytes(b"\x08"))
    assert "is not a safetensors file" in cut


def test_random_actions_have_no_policy_to_export(tmp_path, capfd):
    run = train(tmp_path, "--algo", "random", "--set", "episodes=4", "--budget", "5e3")
    assert main(["export", str(run)]) == 2
    error = capfd.readouterr().err
    assert "agent 'random' does not play with the shared policy network" in error
    assert error.count("\n") == 1 and not (run / "export").exists()


REFUSED = {
    "no run": (["play"], "rlbench play RUN"),
    "no run to export": (["export"], "rlbench export RUN"),
    "not a run": (["play", "tests"], "neither a run directory nor an export"),
    "nothing there": (["export", "nowhere"], "is not a run directory"),
    "two runs": (["play", "RUN", "RUN"], "unknown argument"),
    "unknown flag": (["play", "RUN", "--episode", "3"], "did you mean '--episodes'"),
    "no flag of that name": (["export", "RUN", "--run", "3"], "unknown argument '--run'"),
    "no episodes": (["play", "RUN", "--episodes", "0"], "--episodes must be at least 1"),
    "half an episode": (["play", "RUN", "--episodes", "1.5"], "whole number"),
    "negative seed": (["play", "RUN", "--seed", "-1"], "from 0 to"),
    "unknown env": (["play", "RUN", "--env", "cartpol"], "did you mean 'cartpole'"),
    "unknown gymnasium env": (["play", "RUN", "--env", PLAYED[:-4]], "did you mean 'CartPole-v1'"),
    "other spaces": (
        ["play", "RUN", "--env", "gymnasium/Pendulum-v1"],
        "vectors of 3, and those of",
    ),
    "other spaces of ours": (["play", "RUN", "--env", "pendulum"], "vectors of 3, and those of"),
    "a folder to write": (["play", "RUN", "--out", "tests"], "is a folder"),
    "a file that is there": (["play", "RUN", "--out", "README.md"], "--overwrite replaces it"),
    "no folder": (["play", "RUN", "--out", "no/where/x.json"], "there is no folder"),
    "export into a file": (["export", "RUN", "--out", "README.md"], "is not a directory"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_gets_one_sentence_and_status_2(name, half, capfd):
    argv, expected = REFUSED[name]
    before = sorted(half.rglob("*"))
    assert main([str(half) if a == "RUN" else a for a in argv]) == 2
    captured = capfd.readouterr()
    assert expected in captured.err
    last = captured.err.splitlines()[-1]
    assert last.startswith("rlbench: ") and captured.err.count("\n") == 1
    assert captured.out == "" and sorted(half.rglob("*")) == before


def test_known_differences_are_told_where_they_matter(learned, capfd):
    assert main(["play", str(learned), "--env", "gymnasium/CartPole-v0", "--episodes", "5"]) == 0
    shown = capfd.readouterr().out
    assert "they differ" in shown and "difference -300.0" in shown
    assert "at most 200 env steps in gymnasium/CartPole-v0, and 500 in gymnax/CartPole-v1" in shown
    assert main(["play", str(learned), "--env", PLAYED, "--episodes", "1"]) == 0
    assert "a single episode has no interval" in capfd.readouterr().out


def test_progress_is_told_after_two_seconds_and_then_seldom(learned, capfd, monkeypatch):
    def play(self, episodes, seed, tell):
        with monkeypatch.context() as clock:
            for second in range(25):
                clock.setattr("time.monotonic", lambda now=float(second): now)
                tell(4 * second, 1000 * second + 1)
        return [500.0] * episodes, [500] * episodes

    monkeypatch.setattr("rlbench.envs.gymnasium_judge.GymnasiumJudge.play", play)
    assert main(["play", str(learned), "--env", PLAYED, "--episodes", "100"]) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "ETA" in line]
    assert len(lines) == 3
    assert lines[0] == "playing 8/100 episodes · 4 episodes/s · ETA 0:23"
