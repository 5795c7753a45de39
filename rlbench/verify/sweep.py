"""A sweep's folder: its plan, and that every cell's record is of a run that is there. No jax."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from rlbench.files import MAX_JSON, read_bytes, read_json
from rlbench.sweep.claims import DONE, FOLDER
from rlbench.sweep.plan import PLAN
from rlbench.verify.finding import Findings, table

RERUN = ("failed", "")
"""Of a cell that failed the run directory may be missing: it may have failed before it had one."""


def check_sweep(root: Path, runs: Collection[Path]) -> Findings:
    """The folder, beside its run directories, which are checked by themselves.

    Args:
        root: OUT/NAME.
        runs: resolved paths of the run directories that were found.
    """
    found = Findings()
    plan = _table(root, PLAN, found)
    cells = plan.get("cells") if plan else None
    if plan is not None and not isinstance(cells, dict):
        found.problems.append(f"{PLAN} has no cells")
    claims = root / FOLDER
    names = (
        sorted(p.name for p in claims.iterdir() if p.is_dir() and p.name[0] != ".")
        if claims.is_dir()
        else []
    )
    done: set[Path] = set()
    open_ = 0
    for name in names:
        if not (claims / name / DONE).exists():
            open_ += 1
            continue
        record = _table(root, f"{FOLDER}/{name}/{DONE}", found)
        if record is not None:
            done |= _check_cell(root, name, record, found)
    if isinstance(cells, dict):
        left = len(set(cells) - set(names)) if set(names) & set(cells) else 0
        if left or open_:
            found.notes.append(f"{left + open_} of {len(cells)} cells are not done")
    lost = sorted(path for path in runs if path not in done)
    if names and lost and not open_:
        found.notes.append(f"{len(lost)} run directories are of no cell that is done: {lost[0]}")
    return found


def _table(root: Path, name: str, found: Findings) -> dict[str, Any] | None:
    try:
        return table(name, read_bytes(root / name, MAX_JSON), found)
    except OSError as error:
        found.problems.append(f"{name} cannot be read: {error.strerror}")
        return None


def _check_cell(root: Path, name: str, record: dict[str, Any], found: Findings) -> set[Path]:
    """Whether a cell's record and its run say the same; the run's resolved path."""
    status, text = str(record.get("status", "")), str(record.get("path", ""))
    try:
        path = (root / text).resolve()
    except ValueError:  # a zero byte
        path = Path()
    if not text or not path.is_relative_to(root.resolve()):
        found.problems.append(f"cell {name} names a run outside the sweep, {text!r}")
        return set()
    try:
        said = str(read_json(path / "status.json").get("status"))
    except (OSError, ValueError, AttributeError):
        found.unless(status in RERUN, f"cell {name} is {status}, and {text} has no such run")
        return {path}
    same = said == status or (status == "failed" and said != "ok")
    found.unless(same, f"cell {name} is {status}, and its run {text} is {said}")
    return {path}
