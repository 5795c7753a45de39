"""Cells one after the other in every place that an engine has: claimed, attempted, recorded.

What is here is the same wherever a cell runs; an engine makes one attempt of one cell. Imports no
jax.
"""

import errno
import os
import shlex
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from rlbench import store
from rlbench.errors import UsageError
from rlbench.sweep.claims import Claims
from rlbench.sweep.plan import Job

ATTEMPTS = 2
"""A cell that fails is run once more, as a machine may have been in trouble; then it has failed."""
GPU_SHARE = 0.9
"""Of a GPU's memory, for the cells that are on it at once."""
RESUMED = ("running", "interrupted")
ENDED = ("ok", "diverged", "skipped")
"""Statuses of a run that is not run again."""
LEAST_ROOM = 1 << 20
TAIL = 2000
"""Characters that are kept of what a run said."""


class Engine(Protocol):
    """Where cells run."""

    @property
    def at_once(self) -> int:
        """How many cells it runs at once."""

    def attempt(self, job: Job, root: Path, token: str, slot: int) -> str:
        """Runs a cell once and waits for its end; its run directory is then where it belongs.

        Args:
            job: the cell.
            root: OUT/SUITE.
            token: of the claims that hold the cell.
            slot: which of the cells that run at once this is, from 0.

        Returns:
            The end of what it said on stderr.

        Raises:
            UsageError: the engine itself is gone.
        """

    def stop(self) -> None:
        """Ends every run after the update it is in; from now on an attempt ends at once."""


def flags(job: Job, root: Path) -> list[str]:
    """What follows `python -m rlbench.run` for this cell.

    A run that was killed or interrupted goes on from its checkpoint; one that failed runs anew.

    Args:
        job: the cell.
        root: OUT/SUITE.
    """
    words = [*job.flags, "--out", str(root.parent), "--suite", root.name, "--quiet"]
    path = root / job.path
    if not path.exists():
        return words
    return [*words, *["--resume"] * (outcome_of(path) in RESUMED), "--overwrite"]


def outcome_of(path: Path) -> str:
    """A run directory's status; empty if there is none."""
    try:
        return str(store.read_run(path).status.get("status", ""))
    except UsageError:
        return ""


def check_room(root: Path) -> None:
    """Refuses to blame a cell for a full disk, on which all others would fail too.

    Raises:
        OSError: there is hardly any room left.
    """
    if shutil.disk_usage(root).free < LEAST_ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root))


class Workers:
    """Runs cells until none is left that is free."""

    def __init__(
        self,
        root: Path,
        jobs: Iterable[Job],
        claims: Claims,
        engine: Engine,
        tell: Callable[[Job, str], None],
    ) -> None:
        """Takes the sweep.

        Args:
            root: OUT/SUITE.
            jobs: cells, in the order in which they are tried; asked for one when it is needed.
            claims: of this process.
            engine: how many run at once, and where.
            tell: called with "running", "failed once", or how the cell ended.
        """
        self.root, self.claims, self.tell = root, claims, tell
        self.engine = engine
        self.stopped = threading.Event()
        self._left, self._taking = iter(jobs), threading.Lock()
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Blocks until every cell was tried.

        Raises:
            OSError: the disk refuses a claim or an outcome.
            UsageError: the engine is gone.
        """
        threads = [
            threading.Thread(target=self._work, args=(i,)) for i in range(self.engine.at_once)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def stop(self) -> None:
        """Ends every run after the update it is in, and starts no other."""
        self.stopped.set()
        self.engine.stop()

    def _work(self, slot: int) -> None:
        while not self.stopped.is_set():
            try:
                with self._taking:
                    job = next(self._left, None)
                if job is None:
                    return
                if self.claims.claim(job.id):
                    self._cell(job, slot)
            except BaseException as error:
                self._errors.append(error)
                self.stop()
                return

    def _cell(self, job: Job, slot: int) -> None:
        path, start = self.root / job.path, time.time()
        status = outcome_of(path)
        if status == "skipped":  # there may be more memory now
            status = ""
        attempts, said = 0, ""
        while status not in ENDED and attempts < ATTEMPTS:
            attempts += 1
            self.tell(job, "running")
            said = self.engine.attempt(job, self.root, self.claims.token, slot)
            if self.stopped.is_set() or not self.claims.holds(job.id):
                return  # the claim is given back with all others, or is another's by now
            status = outcome_of(path)
            if status not in ENDED and attempts < ATTEMPTS:
                self.tell(job, "failed once")
        ended = status if status in ENDED else "failed"
        record: dict[str, Any] = {"status": ended, "attempts": attempts, "reason": ""}
        record |= {"seconds": time.time() - start, "path": job.path, "ended": store.now()}
        if ended == "failed":
            check_room(self.root)
            again = ["python", "-m", "rlbench.run", *flags(job, self.root)]
            record |= {"reason": said, "command": shlex.join(again)}
        self.claims.finish(job.id, record)
        self.tell(job, ended)
