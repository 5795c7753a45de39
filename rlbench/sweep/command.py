"""`rlbench sweep FILE`: the plan, then every cell that is left. Imports no jax."""

import contextlib
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from types import FrameType
from typing import Annotated

import tyro

from rlbench import store
from rlbench.errors import UsageError, nearest
from rlbench.flags import flag, parse_flags
from rlbench.machine import usable_cores
from rlbench.options import whole
from rlbench.sweep import board, plan, slurm
from rlbench.sweep.claims import Claims
from rlbench.sweep.local import Local, slots
from rlbench.sweep.on_ray import on_ray
from rlbench.sweep.spec import Sweep, read_sweep
from rlbench.sweep.workers import Engine, Workers

NOT_SWEEPS = ("learning", "speeds")
"""Files of the folder that are read by something else."""
ENGINES = ("local", "ray")


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
    dry_run: Annotated[bool, flag("", "")] = False
    """Show the plan and how long it may take, and write nothing."""
    amend: Annotated[bool, flag("", "")] = False
    """Go on although the file has other cells than when the sweep began."""
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
    sweep = find_sweep(options.file)
    store.check_name(sweep.name, "the sweep file's name")
    check_engine(options)
    if options.export:
        print(export(options, sweep.name), end="")
        return 0
    check_jobs(options)
    part = parse_shard(options.shard)
    root = Path(options.out) / sweep.name
    store.check_writable(root, True, "")
    jobs = plan.make_jobs(sweep)
    with engine_of(options, jobs[part]) as engine:
        if options.dry_run:
            states = Claims.look(root, [job.id for job in jobs])
            board.show_plan(jobs[part], states, engine.at_once)
            return 0
        plan.record(root, sweep, jobs, options.amend)
        return run(root, jobs[part], engine)


def check_engine(options: SweepOptions) -> None:
    """Refuses a wrong choice of where to run.

    Raises:
        UsageError: an unknown engine, or what does not go with it.
    """
    if options.engine and options.engine not in ENGINES:
        raise UsageError(
            f"--engine cannot be {options.engine!r}; {nearest(options.engine, ENGINES)}"
        )
    if options.engine == "ray" and options.export:
        raise UsageError("--engine ray runs the cells, and --export only prints; leave one out")
    if options.engine != "ray" and options.address:
        raise UsageError("--address is of a Ray cluster; it goes with --engine ray")


def check_jobs(options: SweepOptions) -> None:
    """Refuses cells at a time for which there is no room; a cluster's is known later.

    Raises:
        UsageError: there are too many, or none.
    """
    if options.engine != "ray":
        slots(_at_once(options))
    elif _at_once(options) < 1:
        raise UsageError(f"--jobs must be at least 1, not {options.jobs}")


def _at_once(options: SweepOptions) -> int:
    return whole(options.jobs, "--jobs") if options.jobs else usable_cores()


@contextlib.contextmanager
def engine_of(options: SweepOptions, jobs: Sequence[plan.Job]) -> Iterator[Engine]:
    """Where the cells run, while it is there.

    Raises:
        UsageError: it cannot be had.
    """
    if options.engine == "ray":
        wanted = _at_once(options) if options.jobs else 0
        with on_ray(options.address, jobs, wanted, usable_cores()) as engine:
            yield engine
    else:
        yield Local(slots(_at_once(options)))


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


def run(root: Path, jobs: Sequence[plan.Job], engine: Engine) -> int:
    """Runs the cells that are left, until they are done or a signal comes."""
    with Claims(root) as claims:
        states = claims.states([job.id for job in jobs])
        board.show_plan(jobs, states, engine.at_once)
        with board.Board(jobs, states, engine.at_once) as shown:
            workers = Workers(root, jobs, claims, engine, shown.tell)
            before = {
                s: signal.signal(s, _stopper(workers)) for s in (signal.SIGINT, signal.SIGTERM)
            }
            try:
                workers.run()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        ended = claims.states([job.id for job in jobs])
    kinds = [(state or {}).get("status", "left") for state in ended.values()]
    told = [f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(sorted(kinds))]
    for job in jobs:
        state = ended[job.id] or {}
        if state.get("status") == "failed":
            print(f"failed: {' '.join(job.flags)}: {state.get('reason', '').splitlines()[-1:]}")
    print(f"{', '.join(told)} of {len(jobs):,} cells; rlbench report {root} --out report")
    print(f"written to {root}")
    if workers.stopped.is_set():
        return 4
    return 3 if "failed" in kinds else 0


def _stopper(workers: Workers) -> "signal.Handlers | signal._HANDLER":
    def stop(number: int, frame: FrameType | None) -> None:
        workers.stop()

    return stop


def shipped() -> list[str]:
    """Names of the sweep files in `sweeps/`."""
    names = [f.name.removesuffix(".toml") for f in files("rlbench.sweeps").iterdir()]
    return sorted(
        name
        for name, f in zip(names, files("rlbench.sweeps").iterdir(), strict=True)
        if f.name.endswith(".toml") and name not in NOT_SWEEPS
    )


def find_sweep(name: str) -> Sweep:
    """A file, or a shipped one by its name.

    Raises:
        UsageError: there is neither, or what it says is wrong.
    """
    if not Path(name).exists() and re.fullmatch(r"[A-Za-z0-9_-]+", name):
        if name not in shipped():
            raise UsageError(f"no sweep file {name!r}; {nearest(name, shipped())}")
        with as_file(files("rlbench.sweeps").joinpath(f"{name}.toml")) as path:
            return read_sweep(path)
    return read_sweep(Path(name))


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
