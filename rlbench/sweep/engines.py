"""Where cells run, by `--engine`, and the work on them until it is done or a signal comes.

Imports no jax.
"""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from types import FrameType

from rlbench.errors import RunError, UsageError, nearest
from rlbench.flags import whole
from rlbench.installed import usable_cores
from rlbench.sweep.local import Local, slots
from rlbench.sweep.on_ray import on_ray
from rlbench.sweep.plan import Job
from rlbench.sweep.workers import Engine, Workers

ENGINES = ("local", "ray")


def check_engine(engine: str, address: str) -> None:
    """Refuses a wrong choice of where to run.

    Args:
        engine: of `ENGINES`; empty for the first.
        address: of a Ray cluster.

    Raises:
        UsageError: an unknown engine, or an address that nothing would use.
    """
    if engine and engine not in ENGINES:
        raise UsageError(f"--engine cannot be {engine!r}; {nearest(engine, ENGINES)}")
    if engine != "ray" and address:
        raise UsageError("--address is of a Ray cluster; it goes with --engine ray")


def check_jobs(engine: str, jobs: str) -> None:
    """Refuses cells at a time for which there is no room; a cluster's is known later.

    Args:
        engine: as for `check_engine`.
        jobs: how many; empty for as many as there is room for.

    Raises:
        UsageError: there are too many, or none.
    """
    if engine != "ray":
        slots(_at_once(jobs))
    elif _at_once(jobs) < 1:
        raise UsageError(f"--jobs must be at least 1, not {jobs}")


def _at_once(jobs: str) -> int:
    return whole(jobs, "--jobs") if jobs else usable_cores()


@contextlib.contextmanager
def engine_of(engine: str, address: str, jobs: str, cells: Sequence[Job]) -> Iterator[Engine]:
    """Where the cells run, while it is there.

    Args:
        engine: as for `check_engine`.
        address: likewise.
        jobs: likewise.
        cells: what is to be run, or some that are like it.

    Raises:
        UsageError: it cannot be had.
    """
    if engine == "ray":
        with on_ray(address, cells, _at_once(jobs) if jobs else 0, usable_cores()) as found:
            yield found
    else:
        yield Local(slots(_at_once(jobs)))


def work(workers: Workers) -> bool:
    """Works until nothing is left, or a signal comes; whether one came.

    Raises:
        RunError: the disk refuses what must be recorded.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        workers.stop()

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        workers.run()
    except OSError as error:
        raise RunError(
            f"the sweep has ended: {error.strerror or error} ({error.filename}); what is done is "
            "kept, and the same command goes on with the rest",
            "",
        ) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return workers.stopped.is_set()
