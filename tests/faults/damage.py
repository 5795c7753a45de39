"""Every file of a run, damaged: nothing that was changed is taken for what was written."""

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.faults.common import SHORT, Tally, each, find, inside, result, rlbench


def flip(file: Path, chance: random.Random) -> bool:
    """One bit; whether there was one."""
    content = bytearray(file.read_bytes())
    if not content:
        return False
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)
    return True


def cut(file: Path, chance: random.Random) -> bool:
    """The file ends earlier."""
    content = file.read_bytes()
    if not content:
        return False
    file.write_bytes(content[: chance.randrange(len(content))])
    return True


def delete(file: Path, chance: random.Random) -> bool:
    """It is gone."""
    file.unlink()
    return True


KINDS: dict[str, Callable[[Path, random.Random], bool]] = {
    "one flipped bit": flip,
    "cut": cut,
    "deleted": delete,
}


def damage(folder: Path, flips: int, seed: int) -> list[Tally]:
    """Of a run that is ok, one that was interrupted and one that was killed.

    Args:
        folder: to work in.
        flips: how often each file has a bit flipped or its end cut.
        seed: of where.
    """
    whole = {name: _made(folder / name, name) for name in ("ok", "interrupted", "killed")}
    wanted = result(folder / "ok")
    tallies = []
    for kind, change in KINDS.items():
        tally = Tally(f"a file of a run: {kind}")
        jobs = [
            partial(
                _one, folder / f"{kind}-{name}-{i}-{n}", run, file, change, f"{seed} {n}", wanted
            )
            for name, run in whole.items()
            for i, file in enumerate(_files(run))
            for n in range(1 if kind == "deleted" else flips)
        ]
        each(tally, jobs, len(jobs), 200, at_once=1)
        tallies.append(tally)
    return tallies


def _made(out: Path, how: str) -> Path:
    argv = [*SHORT, "--out", str(out)]
    crash = {"ok": "", "interrupted": "metrics.sync@4=ENOSPC", "killed": "checkpoint.prune@3"}[how]
    rlbench(*argv, crash=crash)
    return find(out)


def _files(run: Path) -> list[str]:
    return sorted(p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file())


def _one(
    here: Path,
    run: Path,
    file: str,
    change: Callable[[Path, random.Random], bool],
    seed: str,
    wanted: str,
) -> str:
    """Damages one file of a copy; what was accepted in silence."""
    copy = here / "adhoc" / Path(*run.parts[-3:])
    shutil.copytree(run, copy)
    try:
        if not change(copy / file, random.Random(f"{seed} {file}")):
            return ""
        done = inside("verify", str(copy))
        if done.returncode == 5:
            return ""
        what = f"{file} of {run.parts[-5]}, seed {seed}: verify: {done.returncode} {done.stdout}"
        if "Traceback" in done.stderr:
            return f"{what} {done.stderr[-300:]}"
        # What follows the last checkpoint of a killed run is thrown away when it goes on.
        done = rlbench("resume", str(copy), "--quiet")
        if done.returncode == 2 or result(here) == wanted:
            return ""
        return f"{what} resume: {done.returncode} {done.stderr[-200:]}"
    finally:
        shutil.rmtree(here, ignore_errors=True)
