"""Cells on this machine: each a fresh process with the command line that a person would type.

A fresh process has a heap of its own, so that its memory is its own, and a crash is its own too.
Imports no jax.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from rlbench.errors import UsageError
from rlbench.sweep.plan import Job
from rlbench.sweep.workers import GPU_SHARE, TAIL, flags


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


class Local:
    """Runs cells on shares of this machine's cores."""

    def __init__(self, share: Slots) -> None:
        """Takes how many run at once, and where."""
        self._share, self._stopped = share, threading.Event()
        self._children: set[subprocess.Popen[str]] = set()

    @property
    def at_once(self) -> int:
        """How many cells it runs at once."""
        return self._share.jobs

    def attempt(self, job: Job, root: Path, token: str, slot: int) -> str:
        """Runs a cell once, in its run directory; returns the end of what it said on stderr."""
        cores = self._share.cores[slot] if self._share.cores else ()
        env = dict(os.environ)
        if job.device == "gpu":
            env.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{GPU_SHARE / self.at_once:.3f}")
        words = [str(os.getpid()), ",".join(map(str, cores)), *flags(job, root)]
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
            if self._stopped.is_set():
                child.send_signal(signal.SIGTERM)
            return child.communicate()[1][-TAIL:].strip()
        finally:
            self._children.discard(child)

    def stop(self) -> None:
        """Ends every run after the update it is in."""
        self._stopped.set()
        for child in list(self._children):
            with contextlib.suppress(OSError):
                child.send_signal(signal.SIGTERM)
