"""A sweep survives being killed, shared and edited, and ends in the runs of an undisturbed one."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rlbench.cli import main
from rlbench.errors import UsageError
from rlbench.store import read_run
from rlbench.sweep.local import slots

ROOT = Path(__file__).resolve().parents[2]
FILE = """
about = "a test"
[defaults]
budget = 6000
eval_episodes = 2
set = { hidden = [[8]] }
[[cell]]
env = "cartpole"
algo = "eggroll"
seeds = 3
set = { pop_size = [4, 8] }
"""


def sweep(file, out, *flags):
    words = [sys.executable, "-m", "rlbench", "sweep", str(file), "--out", str(out), *flags]
    return subprocess.Popen(
        words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def results(out, name="small"):
    """Final state by run directory ("" of a failed one), and what was recorded of every cell."""
    states = {
        path.parent.relative_to(out).as_posix(): read_run(path.parent).status.get(
            "state_sha256", ""
        )
        for path in out.glob("**/metrics.jsonl")
    }
    records = {
        path.parent.name: json.loads(path.read_text())
        for path in (out / name / ".sweep").glob("*/done.json")
    }
    return states, records


def running(out):
    """Processes with this folder on their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(out) in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "small.toml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def undisturbed(file):
    """Six cells by two processes at a time, on one folder."""
    out = file.parent / "undisturbed"
    both = [sweep(file, out, "--jobs", "1") for _ in range(2)]
    for process in both:
        told, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "of 6 cells" in told
    return out


def test_two_processes_share_a_folder_and_run_no_cell_twice(undisturbed):
    states, records = results(undisturbed)
    assert len(states) == len(records) == 6
    assert all(record["status"] == "ok" and record["attempts"] == 1 for record in records.values())
    # Nothing was run over: a second run of a cell would have been written with --overwrite.
    for path in undisturbed.glob("**/provenance.json"):
        assert "--overwrite" not in json.loads(path.read_text())["argv"]


@pytest.mark.slow  # `make faults` kills sweeps too
def test_killed_at_any_moment_it_ends_in_the_same_runs(file, undisturbed, tmp_path):
    chance = random.Random(5)
    for _ in range(3):
        process = sweep(file, tmp_path)
        time.sleep(chance.uniform(2.0, 14.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        deadline = time.monotonic() + 5
        while running(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not running(tmp_path)  # no run goes on without its sweep
    last = sweep(file, tmp_path)
    told, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    assert "6 ok of 6 cells" in told
    assert results(tmp_path)[0] == results(undisturbed)[0]


def test_a_killed_cell_goes_on_from_its_checkpoint(tmp_path):
    path = tmp_path / "small.toml"
    one = FILE.replace("seeds = 3", "seeds = 1").replace("[4, 8]", "[4]")
    path.write_text(one.replace("6000", "200_000\ncheckpoint_seconds = 0"))
    process = sweep(path, tmp_path / "out", "--jobs", "1")
    while not list(tmp_path.glob("out/*/*/*/*/checkpoints/*.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # One that failed is run anew, as it may have been its state that made it fail.
    shutil.copytree(tmp_path / "out", tmp_path / "failed")
    (failed,) = tmp_path.glob("failed/*/*/*/*/status.json")
    failed.write_text(json.dumps(json.loads(failed.read_text()) | {"status": "failed"}))
    resumed = {}
    for name in ("out", "failed"):
        told, errors = sweep(path, tmp_path / name).communicate(timeout=300)
        assert "1 ok of 1 cells" in told, errors
        (found,) = tmp_path.glob(f"{name}/*/*/*/*/provenance.json")
        resumed[name] = [e["updates"] for e in json.loads(found.read_text())["resumed_from"]]
    assert resumed["failed"] == [] and len(resumed["out"]) == 1 and resumed["out"][0] > 0
    assert results(tmp_path / "out")[0] == results(tmp_path / "failed")[0]


def test_a_run_ends_with_its_sweep(tmp_path):
    path = tmp_path / "long.toml"
    path.write_text(FILE.replace("6000", "1_000_000_000").replace("[4, 8]", "[4]"))
    process = sweep(path, tmp_path / "out", "--jobs", "1")
    while not list(tmp_path.glob("**/metrics.jsonl")):
        time.sleep(0.05)
    assert len(running(tmp_path)) == 2
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(2.0)
    assert not running(tmp_path)


def test_stopped_it_gives_its_cells_back_and_goes_on(file, tmp_path):
    process = sweep(file, tmp_path, "--jobs", "1")
    while not list(tmp_path.glob("**/metrics.jsonl")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 4 and "left" in told
    _, records = results(tmp_path)
    claims = {path.name for path in (tmp_path / "small" / ".sweep").iterdir() if path.is_dir()}
    assert claims == set(records)


def test_a_cell_that_fails_is_tried_again_recorded_and_the_others_are_run(tmp_path, capsys):
    path = tmp_path / "mixed.toml"
    one = FILE.replace("seeds = 3", "seeds = 1").replace("[4, 8]", "[4]")
    path.write_text(
        one + '[[cell]]\nenv = "cartpole"\nalgo = "tests.broken_plugins:Raises"\n[cell.set]\n'
    )
    process = sweep(path, tmp_path / "out")
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 3
    states, records = results(tmp_path / "out", "mixed")
    assert len(states) == 1
    ends = sorted((r["status"], r["attempts"]) for r in records.values())
    assert ends == [("failed", 2), ("ok", 1)]
    (failed,) = [r for r in records.values() if r["status"] == "failed"]
    assert "Raises" in failed["reason"] and "Raises" in told
    assert failed["command"].startswith("python -m rlbench.run --env gymnax/CartPole-v1")


BROKEN = """
from dataclasses import dataclass
from rlbench.agents.random_policy import RandomPolicy
@dataclass(frozen=True)
class Mended(RandomPolicy):
    def step(self, task, state):
        raise ValueError("no step for you")
"""


def test_cells_that_failed_or_were_skipped_are_run_again_once_that_is_asked_for(tmp_path):
    path, plugin = tmp_path / "mixed.toml", tmp_path / "mended.py"
    one = FILE.replace("seeds = 3", "seeds = 1").replace("[4, 8]", "[4]")
    other = '[[cell]]\nenv = "cartpole"\nalgo = "mended:Mended"\nset = { episodes = 8 }\n'
    path.write_text(one + other)
    plugin.write_text(BROKEN)

    def ends(*flags):
        words = [sys.executable, "-m", "rlbench", "sweep", str(path), "--out", str(tmp_path)]
        done = subprocess.run([*words, *flags], cwd=tmp_path, text=True, capture_output=True)
        _, records = results(tmp_path, "mixed")
        return done, sorted(record["status"] for record in records.values())

    done, told = ends("--max-memory", "100MB")
    assert told == ["failed", "skipped"], done.stderr
    assert done.returncode == 3 and "with --retry runs them again" in done.stdout
    plugin.write_text(
        BROKEN.replace('raise ValueError("no step for you")', "return super().step(task, state)")
    )
    assert ends()[1] == ["failed", "skipped"]
    done, told = ends("--retry")
    assert done.returncode == 0 and told == ["ok", "ok"], done.stdout
    states, _ = results(tmp_path, "mixed")
    assert ends("--retry")[1] == ["ok", "ok"] and results(tmp_path, "mixed")[0] == states
    assert main(["verify", str(tmp_path / "mixed")]) == 0
    left = {p.name for p in (tmp_path / "mixed" / ".sweep").iterdir() if p.name[0] == "."}
    assert not left


def test_a_cell_that_needs_more_memory_is_skipped_and_not_tried_again(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(FILE.replace("seeds = 3", "seeds = 1").replace("[4, 8]", "[4]"))
    process = sweep(path, tmp_path / "out", "--max-memory", "100MB")
    told, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "1 skipped of 1 cells" in told
    (done,) = tmp_path.glob("out/s/.sweep/*/done.json")
    record = json.loads(done.read_text())
    assert (record["status"], record["attempts"]) == ("skipped", 1)


def test_an_edited_file_is_refused_with_the_difference(file, undisturbed, capsys):
    other = file.with_name("edited")
    other.mkdir()
    path = other / "small.toml"
    before = sorted(p.as_posix() for p in undisturbed.rglob("*"))
    fewer, more = FILE.replace("seeds = 3", "seeds = 2"), FILE.replace("[4, 8]", "[4, 8, 2]")
    both = fewer.replace("[4, 8]", "[4, 8, 2]")
    for text, told in ((fewer, "2 gone, 0 new"), (more, "0 gone, 3 new"), (both, "2 gone, 2 new")):
        path.write_text(text)
        assert main(["sweep", str(path), "--out", str(undisturbed)]) == 2
        error = capsys.readouterr().err
        assert "begun with other cells" in error and "--amend" in error and told in error
    assert "pop_size=2" in error
    assert sorted(p.as_posix() for p in undisturbed.rglob("*")) == before


def test_a_dry_run_plans_and_writes_nothing(file, undisturbed, tmp_path, capsys):
    assert main(["sweep", str(file), "--out", str(tmp_path / "new"), "--dry-run"]) == 0
    assert "6 cells, 6 left" in capsys.readouterr().out and not (tmp_path / "new").exists()
    assert main(["sweep", str(file), "--out", str(undisturbed), "--dry-run"]) == 0
    assert "6 cells, 0 left" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "say which sweep file"),
        (["smok"], "did you mean 'smoke'"),
        (["smoke", "--jobs", "1000"], "cores that may be used"),
        (["smoke", "--jobs", "0"], "cores that may be used"),
        (["smoke", "--shard", "3/2"], "I from 1 to N"),
        (["smoke", "--max-memory", "8 apples"], "a size such as 8GiB"),
        (["smoke", "--dry-rn"], "did you mean '--dry-run'"),
        (["missing/file.toml"], "cannot read sweep file"),
    ],
)
def test_mistakes_are_told_in_one_sentence(words, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_setting_that_cannot_be_is_told_before_anything_runs(tmp_path, capsys):
    path = tmp_path / "s.toml"
    path.write_text('[[cell]]\nenv = "cartpole"\nalgo = "eggroll"\nset = { sigmma = 1 }\n')
    assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "did you mean 'sigma'" in error and "in the cell --env" in error
    assert not (tmp_path / "out").exists()


def test_a_cell_that_its_budget_cannot_hold_is_told_before_anything_runs(tmp_path, capsys):
    path = tmp_path / "s.toml"
    path.write_text('[[cell]]\nenv = "pendulum"\nalgo = "eggroll"\nbudget = 3\n')
    assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "smaller than one update" in error and "in the cell --env" in error
    assert not (tmp_path / "out").exists()


def test_the_cores_are_shared_without_overlap():
    cores = psutil.Process().cpu_affinity()
    for jobs in range(1, len(cores) + 1):
        found = slots(jobs)
        used = [core for slot in found.cores for core in slot]
        assert len(found.cores) == jobs and len(used) == len(set(used))
        assert set(used) <= set(cores)
    with pytest.raises(UsageError):
        slots(len(cores) + 1)
