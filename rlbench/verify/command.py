"""`rlbench verify PATH...`: runs, sweeps and reproductions, and what is wrong with them. No jax."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from rlbench.display import printable
from rlbench.errors import PROBLEM, UsageError
from rlbench.flags import flag, parse_flags
from rlbench.reproduction_shape import FILE
from rlbench.stages import Stages
from rlbench.store import run_directories
from rlbench.sweep.plan import PLAN
from rlbench.verify.finding import Findings, folders_with
from rlbench.verify.reproduction import check_reproduction
from rlbench.verify.run import check_run
from rlbench.verify.sweep import check_sweep


@dataclass(frozen=True)
class VerifyOptions:
    """Check that runs, sweeps and reproductions are what was written; exit status 5 if one is not.

    Hashes, configuration, continuity of the metrics, totals, provenance, checkpoints; of a sweep
    that every cell's record is of a run that is there; of a reproduction what was measured. Nothing
    is run or changed.
    """

    paths: Annotated[tuple[str, ...], tyro.conf.Positional, flag("PATH...", "required")] = ()
    """Folders of runs, sweeps or reproductions, or that hold some at any depth."""


def verify_command(argv: Sequence[str], prog: str) -> int:
    """`verify`: checks, lists, sums up."""
    options = parse_flags(VerifyOptions, argv, prog)
    if not options.paths:
        raise UsageError("say which run directories or sweeps: `rlbench verify PATH...`")
    stages = Stages()
    with stages.shown():
        found = check([Path(path) for path in options.paths], stages)
    return show(found)


def check(roots: Sequence[Path], stages: Stages) -> dict[str, Findings]:
    """What there is to say of everything below the roots, by path.

    Raises:
        UsageError: a path is no folder, or nothing is below it.
    """
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"{root} is not a directory; give run directories or folders of them")
    runs = {path: path.resolve() for root in roots for path in run_directories(root)}
    plans = {path for root in roots for path in folders_with(PLAN, root)}
    records = {path for root in roots for path in folders_with(FILE, root)}
    if not runs and not plans and not records:
        where = ", ".join(map(str, roots))
        raise UsageError(f"there is no run directory in {where}; `rlbench run` makes one")
    found = {}
    for i, path in enumerate(runs):
        stages.tell("checking", i, len(runs), "runs")
        found[str(path)] = check_run(path)
    for path in plans:
        below = {run for run in runs.values() if run.is_relative_to(path.resolve())}
        found[f"{path} (sweep)"] = check_sweep(path, below)
    found |= {f"{path} (reproduction)": check_reproduction(path) for path in records}
    return found


def show(found: dict[str, Findings]) -> int:
    """Prints it; the exit status."""
    notes: dict[str, list[str]] = defaultdict(list)
    for name, one in found.items():
        for problem in one.problems:
            print(printable(f"{name}: {problem}"))
        for note in one.notes:
            notes[note].append(name)
    for note, names in notes.items():
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        print(printable(f"note: {names[0]}{more}: {note}"))
    bad = sum(bool(one.problems) for one in found.values())
    print(f"{len(found):,} checked: {len(found) - bad:,} sound, {bad:,} with problems")
    return PROBLEM if bad else 0
