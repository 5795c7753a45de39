"""Every value of a run's tables and rows, replaced by strange ones and sealed anew: as a stranger
would who means it. No command that reads it ends in a traceback.
"""

import json
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlbench.seal import FILES, KEY, sealed
from rlbench.store import METRICS, TABLES
from tests.faults.common import SHORT, Tally, inside, rlbench, tell, told_badly
from tests.faults.configs import STRANGE
from tests.records import places, replaced

VALUES: tuple[Any, ...] = (
    *STRANGE,
    "/etc/passwd",
    "evil:Agent",
    -1e300,
    10**400,
    "\ud800",
    [[1, 2], [3]],
    ...,
)
"""The last takes the value away."""
ITEMS = 2
"""Of a list that are tried; the others are like them."""

Place = tuple[str, int, tuple[Any, ...]]
"""A file, a line of it, and where in that."""


def values(folder: Path, every: int, seed: int) -> Tally:
    """Tries each at each place, or one of so many; told are the commands' faults."""
    tally = Tally("a value of a run's tables or rows, sealed anew (tracebacks)")
    folder.mkdir(exist_ok=True)
    done = rlbench(*SHORT, "--out", str(folder / "good"))
    assert done.returncode == 0, done.stderr
    (good,) = (folder / "good").glob("*/*/*/seed-*")
    tries = [(place, value) for place in _places(good) for value in VALUES]
    random.Random(seed).shuffle(tries)
    tries, begun = tries[::every], time.monotonic()
    for (file, line, path), value in tries:
        run = folder / "altered" / good.name
        shutil.copytree(good, run)
        _put(run, file, line, path, value)
        problem = "; ".join(filter(None, (_command(argv) for argv in _commands(run, good))))
        what = "deleted" if value is ... else repr(value)[:40]
        tally.count(f"{file}, line {line}, {path}: {what}: {problem}" if problem else "")
        if tally.tried % 1000 == 0:
            tell(tally, len(tries), begun)
        shutil.rmtree(folder / "altered")
    return tally


def _lines(file: Path) -> list[Any]:
    text = file.read_text()
    return [json.loads(line) for line in ([text] if file.name in TABLES else text.splitlines())]


def _places(run: Path) -> Iterator[Place]:
    for name in (*TABLES, METRICS):
        lines = _lines(run / name)
        for i in sorted({0, len(lines) - 1}):
            for path in places(lines[i], ITEMS):
                if path[0] not in (KEY, FILES):
                    yield name, i, path


def _put(run: Path, file: str, line: int, path: tuple[Any, ...], value: Any) -> None:
    lines = _lines(run / file)
    lines[line] = replaced(lines[line], path, value)
    status = _lines(run / "status.json") if file != "status.json" else lines
    status[0].pop(FILES)  # that would name the hashes of the files that are no more
    if file not in (METRICS, "status.json"):
        lines = [sealed(lines[0])] if KEY in lines[0] else lines
    (run / file).write_text("".join(json.dumps(table) + "\n" for table in lines))
    (run / "status.json").write_text(json.dumps(sealed(status[0])))


def _commands(run: Path, good: Path) -> list[list[str]]:
    both = [str(run.parent), str(good.parent)]
    return [["show", str(run)], ["verify", str(run)], ["compare", *both], ["export", str(run)]]


def _command(argv: list[str]) -> str:
    done = inside(*argv)
    if argv[0] == "verify" and done.returncode == 5 and ": " in done.stdout:
        return ""
    problem = told_badly(done, (0, 2))
    return f"{argv[0]}: {problem}" if problem else ""
