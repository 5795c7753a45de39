"""What reproductions would take, and the sweeps of those that need runs. Imports no jax."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlbench.display import duration
from rlbench.installed import usable_cores
from rlbench.reproduce import record
from rlbench.reproduce.spec import Spec
from rlbench.sweep import board
from rlbench.sweep.cells import expand
from rlbench.sweep.claims import Claims
from rlbench.sweep.command import find_file, sweep_command
from rlbench.sweep.plan import make_jobs, resolve
from rlbench.sweep.resolver import Resolver


@dataclass(frozen=True)
class Cost:
    """Of what is left of a reproduction.

    Attributes:
        parts: cases or cells in all.
        done: of them.
        seconds: that the rest may take here; None where that is unknown.
        unknown: cells of unmeasured speed, which `seconds` leaves out.
    """

    parts: int
    done: int
    seconds: float | None
    unknown: int = 0


def cost(spec: Spec, out: Path, ask: Resolver) -> Cost:
    """What is left to do, and how long that may take."""
    if spec.sweep:
        return _cost_of_runs(spec, out, ask)
    parts = len(spec.cases)
    done = record.done(record.read(record.folder_of(out, spec)), spec)
    seconds = None if spec.seconds is None else spec.seconds * (parts - done) / parts
    return Cost(parts, done, seconds)


def _cost_of_runs(spec: Spec, out: Path, ask: Resolver) -> Cost:
    sweep = expand(find_file(spec.sweep))
    jobs = make_jobs(sweep, resolve(sweep, ask))
    states = Claims.look(out / sweep.name, [job.id for job in jobs])
    left = [job for job in jobs if not states[job.id]]
    done = len(jobs) - len(left)
    if spec.seconds is not None:
        return Cost(len(jobs), done, spec.seconds * len(left) / len(jobs))
    seconds = [board.estimate(job) for job in left]
    known = [x for x in seconds if x is not None]
    unknown = len(left) - len(known)
    total = sum(known) / usable_cores() if known or not unknown else None
    return Cost(len(jobs), done, total, unknown)


def show(specs: Sequence[Spec], out: Path) -> None:
    """Prints them in the order in which they would run, with what each would take here."""
    table = Table("name", "part", "scale", "measured", "left, here", "what it shows", box=None)
    with Resolver() as ask:
        costs = [cost(spec, out, ask) for spec in specs]
    shared: set[str] = set()
    total, unknown = 0.0, 0
    for spec, one in zip(specs, costs, strict=True):
        unit = "cells" if spec.sweep else "cases"
        again = spec.sweep in shared
        shared |= {spec.sweep} - {""}
        left = f"of the sweep {spec.sweep}, above" if again else _in_words(one)
        if not again:
            total += one.seconds or 0.0
            unknown += one.unknown + (one.seconds is None and not one.unknown)
        measured = f"{one.done} of {one.parts} {unit}"
        cells = (spec.name, spec.part, spec.scale, measured, left, spec.about)
        table.add_row(*map(Text, cells))
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    console.print(table)
    told = f"about {duration(total)} on {usable_cores()} cores"
    more = f", and what is of unmeasured speed ({unknown})" if unknown else ""
    console.print(f"{len(specs)} reproductions, in this order: {told}{more}; written below {out}")


def _in_words(one: Cost) -> str:
    if one.done == one.parts:
        return "nothing"
    if one.seconds is None:
        return "unknown"
    return duration(one.seconds) + (f", and {one.unknown} cells more" if one.unknown else "")


def run_sweep(spec: Spec, out: Path, jobs: str) -> int:
    """Runs what is left of its sweep, as `rlbench sweep` does; the exit status."""
    flags = ["--jobs", jobs] if jobs else []
    return sweep_command([spec.sweep, "--out", str(out), *flags], "rlbench sweep")
