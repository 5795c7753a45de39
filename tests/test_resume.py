"""A run that was killed or stopped goes on to the bits that it would have had."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rlbench.checkpoint import FOLDER, Checkpoints
from rlbench.cli import main
from rlbench.store import read_run
from tests.records import RUN, RUNS, alter, find, learned

ROOT = Path(__file__).resolve().parents[1]


def words(algo, out):
    return [*RUN, "--algo", algo, *RUNS[algo], "--out", str(out)]


def start(*argv):
    return subprocess.Popen(
        [sys.executable, "-m", "rlbench", *argv],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture(scope="module", params=sorted(RUNS))
def undisturbed(request, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param)
    assert main(words(request.param, out)) == 0
    return request.param, learned(find(out))


def wait_for_checkpoint(out, process, beyond=()):
    while process.poll() is None:
        found = [p for p in out.glob(f"adhoc/*/*/seed-*/{FOLDER}/*.json") if p.name not in beyond]
        if found:
            return
        time.sleep(0.02)


@pytest.mark.slow  # `make faults` does it with each of them, in its short form too
def test_killed_again_and_again_it_ends_in_the_same_bits(undisturbed, tmp_path):
    algo, wanted = undisturbed
    chance, resumed = random.Random(algo), []
    process = start(*words(algo, tmp_path))
    for _ in range(4):
        wait_for_checkpoint(tmp_path, process, {f"{n}.json" for n in resumed})
        time.sleep(chance.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        path = find(tmp_path)
        if read_run(path).status["status"] == "ok":
            break
        resumed.append(max(int(p.stem) for p in (path / FOLDER).glob("*.json")))
        process = start("resume", str(path), "--quiet")
    _, errors = process.communicate()
    assert process.returncode in (0, -9), errors
    path = find(tmp_path)
    assert learned(path) == wanted
    entries = read_run(path).provenance["resumed_from"]
    assert entries and [e["updates"] for e in entries] == sorted(e["updates"] for e in entries)
    assert not (path / FOLDER).exists()  # the last state is in the record


def test_stopped_by_a_signal_it_goes_on_as_if_it_had_not_been(undisturbed, tmp_path):
    algo, wanted = undisturbed
    # No checkpoint is due but the one that the signal asks for.
    argv = [*words(algo, tmp_path), "--checkpoint-seconds", "1000"]
    process = start(*argv)
    while not list(tmp_path.glob("**/metrics.jsonl")):
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    if process.returncode != 0:
        path = find(tmp_path)
        assert process.returncode == 4
        status = read_run(path).status
        assert status["status"] == "interrupted" and status["updates"] > 0
        assert read_run(path).evaluations[-1]["updates"] == status["updates"]
        assert [int(p.stem) for p in (path / FOLDER).glob("*.json")] == [status["updates"]]
        assert main([*argv, "--resume"]) == 0
    assert learned(find(tmp_path)) == wanted


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """An eggroll run with two checkpoints, killed."""
    out = tmp_path_factory.mktemp("killed")
    process = start(*words("eggroll", out))
    wait_for_checkpoint(out, process)
    while len(list(out.glob(f"adhoc/*/*/seed-*/{FOLDER}/*.json"))) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return out


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_taken(killed, tmp_path, capsys):
    shutil.copytree(killed, tmp_path / "out")
    path = find(tmp_path / "out")
    found, _ = Checkpoints(path).restore()
    data = next(p for p in (path / FOLDER / str(found.step)).rglob("d/*") if p.is_file())
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    assert main(["resume", str(path), "--quiet"]) == 0
    assert f"checkpoint {found.step} is damaged" in capsys.readouterr().err
    assert read_run(path).provenance["resumed_from"][0]["updates"] < found.step
    assert main(words("eggroll", tmp_path / "undisturbed")) == 0
    assert learned(path) == learned(find(tmp_path / "undisturbed"))


def test_without_a_checkpoint_it_is_run_anew(killed, tmp_path, capsys):
    shutil.copytree(killed, tmp_path / "out")
    path = find(tmp_path / "out")
    shutil.rmtree(path / FOLDER)
    assert main([*words("eggroll", tmp_path / "out"), "--resume"]) == 0
    assert "has no checkpoint to go on from and is run anew" in capsys.readouterr().err
    assert read_run(path).provenance["resumed_from"] == []


def test_rows_that_changed_before_the_checkpoint_are_not_gone_on_with(killed, tmp_path, capsys):
    shutil.copytree(killed, tmp_path / "out")
    metrics = find(tmp_path / "out") / "metrics.jsonl"
    whole = metrics.read_bytes()
    other = whole.replace(b'"return_std": ', b'"return_std": 1', 1)[: len(whole)]
    assert other != whole
    metrics.write_bytes(other)
    assert main(["resume", str(metrics.parent)]) == 2
    told = "metrics.jsonl is not what it was at its last checkpoint; --overwrite runs it anew"
    assert told in capsys.readouterr().err
    assert metrics.read_bytes() == other
    assert main(["resume", str(metrics.parent), "--overwrite", "--quiet"]) == 0
    assert "is run anew" in capsys.readouterr().err
    assert read_run(metrics.parent).status["status"] == "ok"


def _larger(arrays):
    arrays["params.layers.0.b"] = np.zeros(9, np.float32)


FOREIGN = {
    "the state lacks 'generation'": lambda arrays: arrays.pop("generation"),
    "the state has no place for 'seen'": lambda arrays: arrays.update(seen=np.zeros(2)),
    "'params.layers.0.b' of the state must be float32 of shape (8,), not float32 of": _larger,
}


@pytest.mark.parametrize("told", FOREIGN)
def test_a_sound_checkpoint_of_another_agent_is_refused(told, killed, tmp_path, capsys):
    """As after an agent's code was changed: what there is stays for the code that wrote it."""
    shutil.copytree(killed, tmp_path / "out")
    path = find(tmp_path / "out")
    found, _ = Checkpoints(path).restore()
    FOREIGN[told](found.arrays)
    shutil.rmtree(path / FOLDER)
    Checkpoints(path).save(found.step, found.arrays, found.record)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    assert main(["resume", str(path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert told in error and f"checkpoint {found.step} of {path} is of another" in error
    assert error.count("\n") == 1
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


MIXTURES = {
    "jax 0.1, and here": ("provenance.json", lambda p: p["versions"].update(jax="0.1")),
    "jax_enable_x64 True": ("provenance.json", lambda p: p["jax"].update(jax_enable_x64=True)),
    "jax_default_prng_impl": (
        "provenance.json",
        lambda p: p["jax"].update(jax_default_prng_impl="rbg"),
    ),
    "with jax None": ("provenance.json", lambda p: p.update(versions="0.1")),
    "device_kind": ("provenance.json", lambda p: p["hardware"].update(device_kind="abacus")),
    "eval_episodes 9": ("config.json", lambda c: c.update(eval_episodes=9)),
    "has ended (ok)": ("status.json", lambda s: s.update(status="ok")),
}


@pytest.mark.parametrize("told", MIXTURES)
def test_what_would_become_a_mixture_is_refused_and_nothing_changes(told, killed, tmp_path, capsys):
    shutil.copytree(killed, tmp_path / "out")
    path = find(tmp_path / "out")
    alter(path, *MIXTURES[told])
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    assert main([*words("eggroll", tmp_path / "out"), "--resume"]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["resume"], "say which run directory"),
        (["resume", "nowhere"], "is not a run directory"),
        ([*RUN, "--algo", "random", "--checkpoint-seconds", "-1"], "must not be negative"),
        ([*RUN, "--algo", "random", "--max-memory", "lots"], "a size such as 8GiB"),
    ],
)
def test_mistakes_are_told_in_one_sentence(argv, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_run_that_needs_more_memory_is_not_begun(tmp_path, capsys):
    argv = [*words("eggroll", tmp_path), "--max-memory"]
    assert main([*argv, "1MiB"]) == 3
    told = capsys.readouterr()
    assert "not begun: an update needs" in told.err and "more than --max-memory 1 MiB" in told.err
    status = read_run(find(tmp_path)).status
    assert status["status"] == "skipped" and "a smaller population" in status["reason"]
    assert main([*argv, "1TB", "--overwrite"]) == 0
    memory = read_run(find(tmp_path)).status["memory"]
    needed = memory["rss_after_compile_bytes"] + memory["update_buffer_bytes"]
    # As much as the process has after compiling, and the buffers; half of that is too little.
    assert main([*argv, str(needed // 2), "--overwrite"]) == 3
