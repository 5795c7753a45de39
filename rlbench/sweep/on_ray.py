"""Cells on a Ray cluster, each a task: `rlbench sweep FILE --engine ray`. Imports no jax.

A task runs in a folder of its own, and only this process moves its run directory into its place, so
that a task whose machine was lost, or was only thought lost, cannot harm the one that Ray runs
instead of it. That is no attempt of the cell's: it did not fail.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlbench.sweep import cluster, node, parcel
from rlbench.sweep.claims import FOLDER, held
from rlbench.sweep.plan import Job
from rlbench.sweep.workers import TAIL

OUT = "results"
"""In a task's folder: a run's recorded command line is then what anybody would type anywhere."""
LOST = 20
"""Machines that a cell may lose before it counts as failed: it may be what ends them."""
RETURNED = "returned"
AGAIN_SECONDS = 5.0
"""A task that was told to stop, and goes on, is told again: it may just have begun."""


class OnRay:
    """Runs cells on the machines of a cluster."""

    def __init__(self, ray: Any, at_once: int) -> None:
        """Takes the connected module, and how many cells run at once."""
        self._ray, self.at_once = ray, at_once
        self._stopped, self._tasks = threading.Event(), set[Any]()

    def attempt(self, job: Job, root: Path, token: str, slot: int) -> str:
        """Runs a cell once, and moves what it wrote into its run directory."""
        claim = root.absolute() / FOLDER / job.id
        run = f"{OUT}/{root.name}/{job.path}"
        task = self._task(job).remote(str(claim), token, run, str(Path.cwd()), words(job, root))
        try:
            ended = self._wait(task)
            if held(claim, token):
                place(ended, claim, claim / ended["folder"] / run, root / job.path)
            return ended["said"]
        finally:
            clear(claim, token)

    def _task(self, job: Job) -> Any:
        gpus = 1 if job.device == "gpu" else 0
        remote = self._ray.remote(num_cpus=1, num_gpus=gpus, max_retries=LOST)
        return remote(node.run_cell)

    def _wait(self, task: Any) -> node.Ended:
        """What the task returned; of one that did not end, why."""
        errors = self._ray.exceptions
        self._tasks.add(task)
        try:
            if self._stopped.is_set():
                self._ray.cancel(task)
            while not self._ray.wait([task], timeout=AGAIN_SECONDS)[0]:
                if self._stopped.is_set():
                    self._ray.cancel(task)
            ended: node.Ended = self._ray.get(task)
            return ended
        except errors.RayTaskError as error:  # of ours, on its machine
            told = f"{type(error.cause).__name__}: {error.cause}"
        except (errors.TaskCancelledError, *cluster.lost(errors)) as error:
            # The first line: what follows may list all that runs on that machine.
            told = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        except errors.RayError as error:
            raise cluster.gone(error) from None
        finally:
            self._tasks.discard(task)
        return {"said": told[-TAIL:], "folder": "", "files": {}}

    def stop(self) -> None:
        """Ends every run after the update it is in."""
        self._stopped.set()
        for task in list(self._tasks):
            self._ray.cancel(task)


def words(job: Job, root: Path) -> list[str]:
    """What follows `python -m rlbench.run` on any machine.

    The device is said, as it was resolved here and decides about the run's name.
    """
    where = ["--out", OUT, "--suite", root.name]
    return [*job.flags, "--device", job.device, *where, "--quiet"]


def place(ended: node.Ended, claim: Path, source: Path, target: Path) -> None:
    """Moves a run directory to where it belongs, in one step; nothing if there is none.

    Args:
        ended: what the task returned.
        claim: the cell's folder.
        source: where the run is on a common disk.
        target: where it belongs; what an earlier attempt left there is replaced.

    Raises:
        OSError: the disk refuses.
        UsageError: a file's name could leave the folder.
    """
    if ended["files"]:
        source = claim / RETURNED
        shutil.rmtree(source, ignore_errors=True)
        parcel.unpack(ended["files"], source)
    if not source.is_dir():
        return
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)


def clear(claim: Path, token: str) -> None:
    """Removes what tasks left in a cell's folder, lost ones too, if it is this owner's still."""
    if held(claim, token):
        for left in claim.glob(f"{node.ATTEMPT}*"):
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def on_ray(address: str, jobs: Sequence[Job], wanted: int, cores: int) -> Iterator[OnRay]:
    """The engine, while it is connected.

    Args:
        address: of a running cluster; empty to start one on this machine.
        jobs: what is to be run on it.
        wanted: cells at once; 0 for as many as there are cores.
        cores: of this machine, for a cluster that is started here.

    Raises:
        UsageError: there is no such cluster, or it cannot run the jobs.
    """
    with cluster.connected(address, cores) as ray:
        yield OnRay(ray, cluster.places(ray, any(job.device == "gpu" for job in jobs), wanted))
