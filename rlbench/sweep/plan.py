"""A sweep's cells with their run directories, and what is recorded of them. Imports no jax.

OUT/SUITE/sweep.json            the plan: which cells, by which file
OUT/SUITE/.sweep/ID/            a cell in somebody's hands, or done with: see `claims`
OUT/SUITE/ENV/ALGO-HASH/SEED/   its run directory
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlbench.errors import UsageError
from rlbench.files import read_json, replace_file, to_json, writing
from rlbench.seal import flaw, sealed
from rlbench.sweep.cells import Cell, Sweep
from rlbench.sweep.resolver import Resolver

PLAN = "sweep.json"
SCHEMA = 1


@dataclass(frozen=True)
class Job:
    """A cell that is ready to run.

    Attributes:
        id: unique within the sweep, a folder's name.
        env: full id.
        algo: name.
        seed: of the run.
        flags: of `rlbench run`, all but --out, --suite and --overwrite.
        path: the run's directory below OUT/SUITE.
        budget_env_steps: None if it has none.
        budget_seconds: None if it has none.
        device: "cpu" or "gpu".
    """

    id: str
    env: str
    algo: str
    seed: int
    flags: tuple[str, ...]
    path: str
    budget_env_steps: int | None
    budget_seconds: float | None
    device: str


def resolve(sweep: Sweep, ask: Resolver) -> list[dict[str, Any]]:
    """What is known of every cell."""
    return ask([[*cell.flags, "--suite", sweep.name] for cell in sweep.cells])


def make_jobs(sweep: Sweep, found: Sequence[dict[str, Any]]) -> tuple[Job, ...]:
    """The cells, ready to run.

    Args:
        sweep: the file, expanded.
        found: what `resolve` says of its cells.

    Raises:
        UsageError: a cell asks for what cannot be, or two are one run.
    """
    jobs: dict[str, Job] = {}
    for cell, known in zip(sweep.cells, found, strict=True):
        job = make_job(cell, sweep.name, known)
        if job.id in jobs:
            one, other = " ".join(jobs[job.id].flags), " ".join(job.flags)
            raise UsageError(f"two cells are the same run: {one}; {other}")
        jobs[job.id] = job
    return tuple(jobs.values())


def make_job(cell: Cell, suite: str, known: dict[str, Any]) -> Job:
    """A cell, ready to run.

    Raises:
        UsageError: it asks for what cannot be.
    """
    if "error" in known:
        raise UsageError(f"{known['error']} (in the cell {' '.join(cell.flags)})")
    path = Path(known["path"]).relative_to(suite)
    limits = {k: known[k] for k in ("budget_env_steps", "budget_seconds", "device")}
    id = f"{path.parent.name.rpartition('-')[2]}-{path.name}"
    return Job(id, cell.env, cell.algo, cell.seed, cell.flags, path.as_posix(), **limits)


def told(jobs: Sequence[Job]) -> dict[str, str]:
    """The cells as `record` wants them."""
    return {job.id: " ".join(job.flags) for job in jobs}


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        data = read_json(folder / PLAN)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / PLAN} cannot be read: {error}") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or "cells" not in data:
        raise UsageError(f"{folder / PLAN} is of another version; sweep into another --out")
    if told := flaw(data):
        raise UsageError(f"{folder / PLAN} is damaged ({told}); sweep into another --out")
    return data


def record(folder: Path, about: str, cells: dict[str, str], amend: bool) -> None:
    """Writes the plan, or holds it against the one that is there.

    Args:
        folder: OUT/SUITE.
        about: what the sweep is for.
        cells: by an id of each, what it is in words.
        amend: whether cells may have come or gone.

    Raises:
        UsageError: the folder is another sweep's, or the file was changed.
    """
    old = _read(folder)
    if old is not None and not amend:
        known: dict[str, str] = old["cells"]
        gone = [text for name, text in known.items() if cells.get(name) != text]
        come = [text for name, text in cells.items() if known.get(name) != text]
        if gone or come:
            changes = [f"without {x}" for x in gone[:1]] + [f"with {x}" for x in come[:1]]
            raise UsageError(
                f"{folder} was begun with other cells: the file now is {' and '.join(changes)} "
                f"({len(gone)} gone, {len(come)} new); --amend goes on with what it says now"
            )
    if old is None or old["cells"] != cells:
        content = {"schema": SCHEMA, "about": about, "cells": cells}
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(folder / PLAN, (to_json(sealed(content), indent=1) + "\n").encode())
