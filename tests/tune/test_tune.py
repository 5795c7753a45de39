"""A search finds what was planted, survives being killed, and its winner can be run, but not on the
seeds that it was tuned on.
"""

import json
import random
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from rlbench.cli import main
from rlbench.store import read_run

ROOT = Path(__file__).resolve().parents[2]
ENV = "gymnax/CartPole-v1"
FILE = """
about = "one of two learning rates learns nothing"
[defaults]
seeds = [1000]
budget = 40000
eval_episodes = 8
set = { hidden = [[8]], pop_size = 16 }
[[cell]]
env = "cartpole"
algo = ["eggroll", "open_es"]
[cell.random]
trials = 5
learning_rate = { choice = [1e-12, 0.1] }
sigma = { log_uniform = [0.05, 0.2] }
"""


def tune(file, out, *flags):
    words = [sys.executable, "-m", "rlbench", "tune", str(file), "--out", str(out), *flags]
    return subprocess.Popen(
        words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def by_algo(root):
    """Final return and env steps of every run, and whether it could learn, read from its files."""
    found = {"eggroll": [], "open_es": []}
    for path in root.glob("*/*/seed-*"):
        run = read_run(path)
        score = run.evaluations[-1]["returns"]
        rate = run.config["settings"]["learning_rate"]
        steps = run.status["simulated_env_steps"]
        found[run.config["algo"]].append((sum(score) / len(score), steps, rate, path))
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tune") / "planted.toml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module", params=[pytest.param("random", marks=pytest.mark.slow), "tpe"])
def ended(request, file):
    """A search by two processes on one folder, killed once, then run to its end."""
    out = file.parent / request.param
    both = [tune(file, out, "--jobs", "1", "--sampler", request.param) for _ in range(2)]
    time.sleep(random.Random(3).uniform(8.0, 12.0))
    for process in both:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    journal = out / "planted" / ".sweep" / "trials.journal"
    if journal.exists():
        with journal.open("a") as torn:
            torn.write('{"op_code": 6, "wor')
    last = tune(file, out, "--sampler", request.param)
    told, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    return request.param, out / "planted", told


def test_every_algorithm_has_its_trials_and_the_planted_setting_wins(ended):
    sampler, root, told = ended
    table = tomllib.loads((root / "settings.toml").read_text())[ENV]
    for algo, runs in by_algo(root).items():
        assert len(runs) == 5  # no trial is lost or run twice
        scores = sorted((run[0] for run in runs), reverse=True)
        found = table[algo]["tuning"]
        assert found["score"] == scores[0] and found["top"] == scores
        assert (found["trials"], found["failed"], found["seeds"]) == (5, 0, [1000])
        assert found["sampler"] == sampler and found["sweep"] == "planted"
        assert found["env_steps"] == sum(run[1] for run in runs)
        assert table[algo]["settings"]["learning_rate"] == 0.1
        assert table[algo]["network"]["hidden"] == [8]
        winner = read_run(root / found["runs"][0])
        assert winner.config["settings"] == table[algo]["settings"]
        assert all(run[1] >= 40_000 for run in runs)  # none of those that were killed
    assert len(list((root / ".sweep").glob("*/done.json"))) == 10
    assert f"written to {root / 'settings.toml'}" in told


def test_the_same_command_again_runs_nothing(ended, file):
    sampler, root, _ = ended
    before = {p: p.stat().st_mtime_ns for p in root.rglob("metrics.jsonl")}
    again = tune(file, root.parent, "--sampler", sampler)
    again.communicate(timeout=120)
    assert again.returncode == 0
    assert {p: p.stat().st_mtime_ns for p in root.rglob("metrics.jsonl")} == before


def test_winners_that_the_disk_refuses_are_written_by_the_same_command_later(
    ended, file, monkeypatch
):
    sampler, root, _ = ended
    wanted = (root / "settings.toml").read_bytes()
    monkeypatch.setenv("RLBENCH_CRASH", "settings.toml.write=ENOSPC")
    refused = tune(file, root.parent, "--sampler", sampler)
    _, errors = refused.communicate(timeout=120)
    assert refused.returncode == 2 and "Traceback" not in errors
    assert errors.splitlines()[-1].endswith("settings.toml: No space left on device")
    assert (root / "settings.toml").read_bytes() == wanted
    monkeypatch.delenv("RLBENCH_CRASH")
    again = tune(file, root.parent, "--sampler", sampler)
    again.communicate(timeout=120)
    assert again.returncode == 0
    assert (root / "settings.toml").read_bytes() == wanted


def test_another_search_in_the_same_folder_is_refused(ended, file, capsys):
    sampler, root, _ = ended
    other = "tpe" if sampler == "random" else "random"
    assert main(["tune", str(file), "--out", str(root.parent), "--sampler", other]) == 2
    assert "begun with other cells" in capsys.readouterr().err


def test_the_winner_can_be_run_on_other_seeds_only(ended, tmp_path, capsys):
    _, root, _ = ended
    winners = root / "settings.toml"
    words = ["run", "--env", "cartpole", "--algo", "eggroll", "--budget", "10000", "--quiet"]
    words += ["--out", str(tmp_path), "--settings", str(winners)]
    assert main([*words, "--seed", "1000"]) == 2
    assert "seed 1000 is one that settings.toml was tuned on" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main([*words, "--seed", "0"]) == 0
    config = json.loads(next(tmp_path.rglob("config.json")).read_text())
    wanted = tomllib.loads(winners.read_text())[ENV]["eggroll"]
    assert config["settings"] == wanted["settings"] and config["network"]["hidden"] == [8]
    assert config["settings_source"].startswith("settings.toml: best of 5")
    # A sweep says so of its cells before it begins.
    sweep = tmp_path / "report.toml"
    sweep.write_text(
        f'[[cell]]\nenv = "cartpole"\nalgo = "eggroll"\nseeds = [1000]\nsettings = "{winners}"\n'
    )
    assert main(["sweep", str(sweep), "--out", str(tmp_path / "out")]) == 2
    assert "was tuned on" in capsys.readouterr().err


WRONG = {
    "": "no settings file",
    "schema = 1": "has no settings of eggroll on gymnax/CartPole-v1; it has none",
    f"schema = 1\n['{ENV}'.ppo]": f"it has ppo on {ENV}",
    f"schema = 1\n['{ENV}']\neggroll = 3": "must be a table",
    f"schema = 1\n['{ENV}'.eggroll]\nsettings = 3": "must be a table",
    f"schema = 1\n['{ENV}'.eggroll.settings]\nsigmma = 3": "did you mean 'sigma'",
    "schema = ": "is not valid TOML",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_settings_file_is_told_in_one_sentence(text, tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    words = ["--env", "cartpole", "--algo", "eggroll", "--out", str(tmp_path / "out")]
    assert main(["run", *words, "--settings", str(path)]) == 2
    error = capsys.readouterr().err
    assert WRONG[text] in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "say which file to search"),
        (["cartpole_tunin"], "did you mean 'cartpole_tuning'"),
        (["smoke"], "searches for nothing"),
        (["cartpole_tuning", "--sampler", "tpee"], "did you mean 'tpe'"),
        (["cartpole_tuning", "--sample", "tpe"], "did you mean '--sampler'"),
        (["cartpole_tuning", "--jobs", "0"], "cores that may be used"),
    ],
)
def test_mistakes_are_told_in_one_sentence(words, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not list(tmp_path.iterdir())
