"""A disk that refuses: at every named point with an error, and for real, full, on a small tmpfs."""

import random
import shutil
import subprocess
from functools import partial
from pathlib import Path

from tests.faults.common import SHORT, Tally, each, result, rlbench, sound, told_badly
from tests.faults.points import Stage, scenes

CODES = ("ENOSPC", "EIO")
MOMENTS = ("replaced", "run.made")
"""Points after an operation, at which nothing is asked of the disk."""
SMALLEST, LARGEST = 24, 600
"""KiB of the tmpfs: from too small for a run directory to enough for all of it."""


def disk(folder: Path, many: int, sizes: int, seed: int) -> list[Tally]:
    """Both kinds.

    Args:
        folder: to work in.
        many: points that refuse, drawn; 0 for all, with both errors.
        sizes: of the tmpfs.
        seed: of what is drawn.
    """
    asked = [
        (s, p, c) for s, p in scenes() if not p.partition("@")[0].endswith(MOMENTS) for c in CODES
    ]
    chance = random.Random(seed)
    asked = chance.sample(asked, many) if many else asked
    tally = Tally("ENOSPC or EIO at a write, from then on")
    stage = Stage(folder / "points", [scene for scene, _, _ in asked])
    tries = [partial(stage.refused, s, p, c, i) for i, (s, p, c) in enumerate(asked)]
    each(tally, tries, len(tries))
    return [tally, _full(folder / "full", sizes)]


def _full(folder: Path, sizes: int) -> Tally:
    tally = Tally("a full disk (tmpfs), then a larger one")
    here = folder / "disk"
    here.mkdir(parents=True)
    if _mount(here, SMALLEST):
        tally.what += ": NOT TRIED, a tmpfs cannot be mounted here"
        return tally
    _unmount(here)
    wanted = rlbench(*SHORT, "--out", str(folder / "calm"))
    assert wanted.returncode == 0, wanted.stderr
    steps = max(sizes - 1, 1)
    kibs = [round(SMALLEST * (LARGEST / SMALLEST) ** (i / steps)) for i in range(sizes)]
    each(tally, [partial(_filled, here, kib, result(folder / "calm")) for kib in kibs], sizes, 1, 1)
    shutil.rmtree(folder, ignore_errors=True)
    return tally


def _filled(here: Path, kib: int, wanted: str) -> str:
    """A run on so small a disk, gone on with on a larger one; what was lost."""
    if problem := _mount(here, kib):
        return problem
    try:
        argv = [*SHORT, "--out", str(here / "out")]
        if problem := told_badly(rlbench(*argv), (0, 2, 3)):
            return f"{kib} KiB: {problem}"
        if list((here / "out").glob("*/*/*/seed-*")) and (problem := sound(here / "out")):
            return f"{kib} KiB: {problem}"
        subprocess.run(["mount", "-o", "remount,size=64m", str(here)], check=True)
        if result(here / "out") != wanted:
            done = rlbench(*argv, "--resume")
            if problem := told_badly(done, (0,)):
                return f"{kib} KiB, then room: {problem}"
        same = result(here / "out") == wanted
        return "" if same else f"{kib} KiB: other bits: {result(here / 'out')[:200]}"
    finally:
        _unmount(here)


def _mount(here: Path, kib: int) -> str:
    """Why it could not be mounted; empty if it was."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(here)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr if done.returncode else ""


def _unmount(here: Path) -> None:
    subprocess.run(["umount", "-l", str(here)], check=True)
