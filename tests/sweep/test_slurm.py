"""The array script, run as SLURM would run its tasks."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from rlbench.cli import main

ROOT = Path(__file__).resolve().parents[2]
FILE = """
[defaults]
budget = 6000
eval_episodes = 2
set = { hidden = [[8]], pop_size = 4 }
[[cell]]
env = "cartpole"
algo = "eggroll"
seeds = 4
"""


def task(script, number, folder):
    """Task `number` of the array; what it asks of scontrol goes into a file."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> "{folder}/scontrol"\n')
    (tools / "scontrol").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    env = {
        **os.environ,
        "PATH": path,
        "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_ARRAY_JOB_ID": "7",
    }
    return subprocess.Popen(["bash", str(script)], env=env, text=True, stdout=subprocess.DEVNULL)


def done(out):
    return [json.loads(p.read_text())["status"] for p in out.glob("*/.sweep/*/done.json")]


def test_its_tasks_do_every_cell_and_are_queued_again_when_told_to_stop(
    tmp_path, capsys, monkeypatch
):
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    (folder / "four.toml").write_text(FILE)
    out = folder / "out $HOME"
    monkeypatch.chdir(ROOT)
    words = ["sweep", str(folder / "four.toml"), "--out", str(out), "--export", "slurm"]
    assert main([*words, "--tasks", "2"]) == 0
    script = folder / "job.sh"
    script.write_text(capsys.readouterr().out)
    assert "#SBATCH --array=1-2\n" in script.read_text() and "--requeue" in script.read_text()

    stopped = task(script, 1, folder)
    while not list(out.glob("**/metrics.jsonl")):
        time.sleep(0.05)
    stopped.send_signal(signal.SIGTERM)  # to the batch shell alone, as --signal=B: does
    assert stopped.wait(60) == 4
    assert (folder / "scontrol").read_text() == "requeue 7_1\n"
    assert len(done(out)) < 2

    for number in (1, 2):
        running = task(script, number, folder)
        assert running.wait(120) == 0
        assert len(done(out)) == 2 * number  # its half, and nothing of the other's
    assert set(done(out)) == {"ok"}
    assert (folder / "scontrol").read_text() == "requeue 7_1\n"


def test_mistakes_are_told(capsys):
    assert main(["sweep", "smoke", "--export", "slrm"]) == 2
    assert "did you mean 'slurm'" in capsys.readouterr().err
    assert main(["sweep", "smoke", "--export", "slurm", "--tasks", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err
