"""Cells on this machine: each a fresh process with the command line that a person would type.

A fresh process has a heap of its own, so that its memory is its own, and a crash is its own too.
Imports no jax.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlbench import store
from rlbench.errors import UsageError
from rlbench.sweep.claims import Claims
from rlbench.sweep.plan import Job

ATTEMPTS = 2
"""A cell that fails is run once more, as a machine may have been in trouble; then it has failed."""
GPU_SHARE = 0.9
TAIL = 2000


@dataclass(frozen=True)
class Slots:
    """How cells share this machine.

    Attributes:
        jobs: how many run at once.
        cores: the cores that each of them may use, one tuple a slot; empty to leave that alone.
    """

    jobs: int
    cores: tuple[tuple[int, ...], ...]


def slots(jobs: int) -> Slots:
    """Equal shares of the cores this process may use.

    Raises:
        UsageError: more jobs than cores.
    """
    if not hasattr(os, "sched_getaffinity"):
        return Slots(jobs, ())
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= jobs <= len(cores):
        raise UsageError(
            f"--jobs must be from 1 to the {len(cores)} cores that may be used here, not {jobs}: "
            "more would share cores, and their times would say nothing"
        )
    share = len(cores) // jobs
    return Slots(jobs, tuple(tuple(cores[i * share : (i + 1) * share]) for i in range(jobs)))


def flags(job: Job, root: Path, overwrite: bool) -> list[str]:
    """What follows `python -m rlbench.run` for this cell.

    Args:
        job: the cell.
        root: OUT/SUITE.
        overwrite: whether there is a run directory that was not finished.
    """
    words = [*job.flags, "--out", str(root.parent), "--suite", root.name, "--quiet"]
    return words + ["--overwrite"] * overwrite


def outcome_of(path: Path) -> str:
    """A run directory's status; empty if there is none."""
    try:
        return str(store.read_run(path).status.get("status", ""))
    except UsageError:
        return ""


class Workers:
    """Runs cells until none is left that is free."""

    def __init__(
        self,
        root: Path,
        jobs: Iterable[Job],
        claims: Claims,
        share: Slots,
        tell: Callable[[Job, str], None],
    ) -> None:
        """Takes the sweep.

        Args:
            root: OUT/SUITE.
            jobs: cells, in the order in which they are tried; asked for one when it is needed.
            claims: of this process.
            share: how many run at once, and where.
            tell: called with "running", "failed once", or how the cell ended.
        """
        self.root, self.claims, self.share, self.tell = root, claims, share, tell
        self.stopped = threading.Event()
        self._left, self._taking = iter(jobs), threading.Lock()
        self._children: set[subprocess.Popen[str]] = set()
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Blocks until every cell was tried.

        Raises:
            OSError: the disk refuses a claim or an outcome.
        """
        threads = [threading.Thread(target=self._work, args=(i,)) for i in range(self.share.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def stop(self) -> None:
        """Ends every run after the update it is in, and starts no other."""
        self.stopped.set()
        for child in list(self._children):
            with contextlib.suppress(OSError):
                child.send_signal(signal.SIGTERM)

    def _work(self, slot: int) -> None:
        cores = self.share.cores[slot] if self.share.cores else ()
        while not self.stopped.is_set():
            try:
                with self._taking:
                    job = next(self._left, None)
                if job is None:
                    return
                if self.claims.claim(job.id):
                    self._cell(job, cores)
            except BaseException as error:
                self._errors.append(error)
                self.stop()
                return

    def _cell(self, job: Job, cores: Sequence[int]) -> None:
        path, start = self.root / job.path, time.time()
        status = outcome_of(path)
        attempts, said = 0, ""
        while status not in ("ok", "diverged") and attempts < ATTEMPTS:
            attempts += 1
            self.tell(job, "running")
            said = self._attempt(job, path, cores)
            if self.stopped.is_set():
                return  # the claim is given back with all others
            status = outcome_of(path)
            if status not in ("ok", "diverged") and attempts < ATTEMPTS:
                self.tell(job, "failed once")
        ended = status if status in ("ok", "diverged") else "failed"
        record: dict[str, Any] = {"status": ended, "attempts": attempts, "reason": ""}
        record |= {"seconds": time.time() - start, "path": job.path, "ended": store.now()}
        if ended == "failed":
            again = ["python", "-m", "rlbench.run", *flags(job, self.root, True)]
            record |= {"reason": said, "command": shlex.join(again)}
        self.claims.finish(job.id, record)
        self.tell(job, ended)

    def _attempt(self, job: Job, path: Path, cores: Sequence[int]) -> str:
        """Runs the cell once; returns the end of what it said on stderr."""
        env = dict(os.environ)
        if job.device == "gpu":
            env.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{GPU_SHARE / self.share.jobs:.3f}")
        words = [str(os.getpid()), ",".join(map(str, cores)), *flags(job, self.root, path.exists())]
        child = subprocess.Popen(
            [sys.executable, "-m", "rlbench.sweep.child", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=env,
            # Ctrl-C is for the sweep, which tells its children.
            start_new_session=True,
        )
        self._children.add(child)
        try:
            if self.stopped.is_set():
                child.send_signal(signal.SIGTERM)
            return child.communicate()[1][-TAIL:].strip()
        finally:
            self._children.discard(child)
