"""`rlbench sweep FILE`: the plan, then every cell that is left. Imports no jax."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import tyro

from rlbench import store
from rlbench.errors import UsageError, nearest
from rlbench.flags import flag, parse_flags, size, whole
from rlbench.sweep import board, plan, slurm
from rlbench.sweep.cells import SweepFile, expand
from rlbench.sweep.claims import Claims
from rlbench.sweep.engines import check_engine, check_jobs, engine_of, work
from rlbench.sweep.resolver import Resolver
from rlbench.sweep.spec import read_file
from rlbench.sweep.workers import Engine, Workers

NOT_SWEEPS = ("learning", "paper_space", "speeds")
"""Files of the folder that are read by something else."""
RETRIED = ("failed", "skipped")
"""How a cell has ended that --retry runs again."""


@dataclass(frozen=True)
class SweepOptions:
    """Run every cell of a sweep file that is left; the same command goes on after any end.

    Several of these processes may work on one --out, also on a shared disk.
    """

    file: Annotated[str, tyro.conf.Positional, flag("FILE", "required")] = ""
    """A TOML file, or the name of one that is shipped (smoke)."""
    jobs: Annotated[str, flag("INT", "default: one a core")] = ""
    """Cells at a time, each on its share of the cores."""
    engine: Annotated[str, flag("local|ray", "default: local")] = ""
    """Where cells run: on this machine, or as tasks of a Ray cluster."""
    address: Annotated[str, flag("ADDR", "default: RAY_ADDRESS, else a new one here")] = ""
    """With --engine ray: the cluster, as HOST:PORT, or auto for the one that this machine is in."""
    shard: Annotated[str, flag("I/N", "default: 1/1")] = ""
    """Only the I-th of N equal parts of the cells."""
    out: Annotated[str, flag("DIR", "default: results")] = "results"
    """Directory for run directories; the sweep's are below its name."""
    max_memory: Annotated[str, flag("SIZE", "default: what is available")] = ""
    """Skip cells whose process would need more memory: 8GiB."""
    dry_run: Annotated[bool, flag("", "")] = False
    """Show the plan and how long it may take, and write nothing."""
    amend: Annotated[bool, flag("", "")] = False
    """Go on although the file has other cells than when the sweep began."""
    retry: Annotated[bool, flag("", "")] = False
    """Run again the cells that failed, or were skipped for want of memory."""
    export: Annotated[str, flag("slurm", "default: run here")] = ""
    """Print an array script for SLURM instead, of --tasks tasks with --jobs cores each."""
    tasks: Annotated[str, flag("INT", "default: 8")] = "8"
    """Of the array script."""


def sweep_command(argv: Sequence[str], prog: str) -> int:
    """`sweep`: plans, and runs what is left."""
    options = parse_flags(SweepOptions, argv, prog)
    if not options.file:
        raise UsageError(
            f"say which sweep file: `rlbench sweep FILE`; shipped: {', '.join(shipped())}"
        )
    sweep = expand(find_file(options.file))
    store.check_name(sweep.name, "the sweep file's name")
    check_engine(options.engine, options.address)
    if options.export:
        if options.engine == "ray":
            raise UsageError("--engine ray runs the cells, and --export only prints; leave one out")
        print(export(options, sweep.name), end="")
        return 0
    check_jobs(options.engine, options.jobs)
    part = parse_shard(options.shard)
    if options.max_memory:
        size(options.max_memory, "--max-memory")
    root = Path(options.out) / sweep.name
    store.check_writable(root, True, "")
    with Resolver() as ask:
        jobs = plan.make_jobs(sweep, plan.resolve(sweep, ask))
    with engine_of(options.engine, options.address, options.jobs, jobs[part]) as engine:
        if options.dry_run:
            states = Claims.look(root, [job.id for job in jobs])
            board.show_plan(jobs[part], states, engine.at_once)
            return 0
        plan.record(root, sweep.about, plan.told(jobs), options.amend)
        limit = ("--max-memory", options.max_memory) if options.max_memory else ()
        limited = [replace(job, flags=(*job.flags, *limit)) for job in jobs[part]]
        return run(root, limited, engine, options.retry)


def export(options: SweepOptions, name: str) -> str:
    """The sweep as another scheduler's script.

    Raises:
        UsageError: an unknown one, or numbers below 1.
    """
    if options.export != "slurm":
        raise UsageError(
            f"--export cannot be {options.export!r}; {nearest(options.export, ['slurm'])}"
        )
    tasks, cores = whole(options.tasks, "--tasks"), whole(options.jobs or "1", "--jobs")
    if min(tasks, cores) < 1:
        raise UsageError(f"--tasks and --jobs must be at least 1, not {min(tasks, cores)}")
    return slurm.script(options.file, name, options.out, tasks, cores)


def run(root: Path, jobs: Sequence[plan.Job], engine: Engine, retry: bool) -> int:
    """Runs the cells that are left, until they are done or a signal comes."""
    with Claims(root) as claims:
        for job in jobs if retry else ():
            claims.reopen(job.id, RETRIED)
        states = claims.states([job.id for job in jobs])
        board.show_plan(jobs, states, engine.at_once)
        with board.Board(jobs, states, engine.at_once) as shown:
            stopped = work(Workers(root, jobs, claims, engine, shown.tell))
        ended = claims.states([job.id for job in jobs])
    kinds = [(state or {}).get("status", "left") for state in ended.values()]
    told = [f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(sorted(kinds))]
    for job in jobs:
        state = ended[job.id] or {}
        if state.get("status") == "failed":
            print(f"failed: {' '.join(job.flags)}: {state.get('reason', '').splitlines()[-1:]}")
    if "failed" in kinds:
        print("once that is mended, the same command with --retry runs them again")
    print(f"{', '.join(told)} of {len(jobs):,} cells; rlbench report {root} --out report")
    print(f"written to {root}")
    if stopped:
        return 4
    return 3 if "failed" in kinds else 0


def shipped() -> list[str]:
    """Names of the sweep files in `sweeps/`."""
    names = [f.name.removesuffix(".toml") for f in files("rlbench.sweeps").iterdir()]
    return sorted(
        name
        for name, f in zip(names, files("rlbench.sweeps").iterdir(), strict=True)
        if f.name.endswith(".toml") and name not in NOT_SWEEPS
    )


def find_file(name: str) -> SweepFile:
    """A file, or a shipped one by its name.

    Raises:
        UsageError: there is neither, or what it says is wrong.
    """
    if not Path(name).exists() and re.fullmatch(r"[A-Za-z0-9_-]+", name):
        if name not in shipped():
            raise UsageError(f"no sweep file {name!r}; {nearest(name, shipped())}")
        with as_file(files("rlbench.sweeps").joinpath(f"{name}.toml")) as path:
            return read_file(path)
    return read_file(Path(name))


def parse_shard(text: str) -> slice:
    """The cells of I/N: every N-th, from the I-th on.

    Raises:
        UsageError: it is not such a pair.
    """
    if not text:
        return slice(None)
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part <= parts:
        raise UsageError(f"--shard must be I/N with I from 1 to N, such as 2/4, not {text!r}")
    return slice(part - 1, None, parts)
