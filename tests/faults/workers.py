"""A sweep whose workers are killed: every cell is done once, as if nobody had been."""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import psutil

from tests.faults.common import Tally, rlbench, sound, start, tell
from tests.faults.points import _runs

SWEEP = """
about = "eighteen cells, or few for few kills"
[[cell]]
env = "cartpole"
algo = ["eggroll", "open_es", "random"]
seeds = SEEDS
budget = 400000
eval_episodes = 4
"""
WORKERS = 2
LONGEST = 6.0


def workers(folder: Path, many: int, seed: int) -> Tally:
    """Two processes work on one sweep; drivers and runs of theirs are killed until enough were."""
    tally, chance = Tally("SIGKILL of a sweep's driver or of a run of it"), random.Random(seed)
    folder.mkdir(exist_ok=True)
    file = folder / "cells.toml"
    file.write_text(SWEEP.replace("SEEDS", repr([*range(1, 1 + min(many, 6))])))
    calm = folder / "calm"
    done = rlbench("sweep", str(file), "--out", str(calm / "out"))
    assert done.returncode == 0, done.stderr
    begun, turn = time.monotonic(), 0
    while tally.tried < many:
        turn += 1
        tally.lost += _one_sweep(folder / str(turn), file, chance, tally, many, begun)
        if _runs(folder / str(turn)) != _runs(calm):
            tally.lost.append(f"sweep {turn} ended otherwise")
        tally.lost += filter(None, [sound(folder / str(turn) / "out")])
    return tally


def _one_sweep(
    here: Path, file: Path, chance: random.Random, tally: Tally, many: int, begun: float
) -> list[str]:
    """One sweep to its end; what was lost."""
    argv = ["sweep", str(file), "--out", str(here / "out"), "--jobs", "1"]
    going = [start(*argv) for _ in range(WORKERS)]
    for _ in range(8):
        time.sleep(chance.uniform(1.0, LONGEST))
        alive = [p for p in going if p.poll() is None]
        if not alive or tally.tried >= many:
            break
        hit = chance.choice(alive)
        # A run of it, or the driver: then its runs die with it.
        runs = [
            p for p in psutil.Process(hit.pid).children() if "rlbench.run" in " ".join(_words(p))
        ]
        victim = runs[0].pid if runs and chance.random() < 0.5 else hit.pid
        try:
            psutil.Process(victim).send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
        tally.count()
        tell(tally, many, begun)
        if victim == hit.pid:
            hit.communicate()
            going[going.index(hit)] = start(*argv)
    for process in going:
        process.communicate()
    # A run that is killed twice has failed: its record says so, and the command is given again.
    _forget_failed(here / "out" / "cells")
    done = rlbench(*argv)
    return [] if done.returncode == 0 else [f"status {done.returncode}: {done.stderr[-300:]}"]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _forget_failed(root: Path) -> None:
    for done in root.glob(".sweep/*/done.json"):
        if json.loads(done.read_text())["status"] == "failed":
            shutil.rmtree(done.parent)
