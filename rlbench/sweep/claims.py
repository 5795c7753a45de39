"""Who runs which cell: several processes, on one machine or on a shared disk, never run one twice.

A claim is a folder, `.sweep/ID`, as renaming one to a name that is taken fails everywhere. Its
owner touches a file in it while it is alive; a claim that nobody has touched for a while, or whose
owner on this machine is gone, is taken over, by one taker at a time.

    .sweep/ID/owner.json   who, and since when; touched every few seconds
    .sweep/ID/done.json    how the cell ended; a folder that has it stays
    .sweep/ID/attempt-…/   a run in progress, of an engine that moves it into its place at its end

Imports no jax.
"""

import contextlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock

from rlbench import crash
from rlbench.alive import is_alive, this_process
from rlbench.files import read_json, replace_file, to_json
from rlbench.seal import flaw, sealed, unsealed

FOLDER = ".sweep"
OWNER, DONE = "owner.json", "done.json"
BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
"""Without a beat a claim is dead: far more than a slow disk takes."""


class Claims:
    """The claims of one process, with the thread that keeps them alive."""

    def __init__(
        self, root: Path, beat: float = BEAT_SECONDS, stale: float = STALE_SECONDS
    ) -> None:
        """Takes OUT/SUITE, and seconds between beats and until a claim is dead."""
        self._folder = root / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._beat, self._stale = beat, stale
        self._owner = {**this_process(), "token": uuid.uuid4().hex}
        self._mine: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> "Claims":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        for name in list(self._mine):
            self.release(name)

    def _keep(self) -> None:
        while not self._ended.wait(self._beat):
            for name in list(self._mine):
                with contextlib.suppress(OSError):
                    os.utime(self._folder / name / OWNER)

    @property
    def token(self) -> str:
        """What tells these claims from all others."""
        return str(self._owner["token"])

    def holds(self, name: str) -> bool:
        """Whether a cell is ours still; if it was taken over while we slept, it is let go."""
        if not held(self._folder / name, self.token):
            self._mine.discard(name)
            return False
        return True

    def claim(self, name: str) -> bool:
        """Takes a cell that is free, or whose owner is dead; whether it is ours now."""
        folder = self._folder / name
        if not self._make(folder) and not self._take_over(folder):
            return False
        self._mine.add(name)
        return True

    def _take_over(self, folder: Path) -> bool:
        if not self._dead(folder):
            return False
        # One taker at a time, who looks again: what was dead may be another taker's by now.
        with FileLock(self._folder / "takeover.lock"):
            if _done(folder) is not None or not self._dead(folder):
                return False
            shutil.rmtree(folder, ignore_errors=True)
            crash.point("claim.over")
            return self._make(folder)

    def _make(self, folder: Path) -> bool:
        """With its owner in it from the first moment; whether there was none."""
        if folder.is_dir():
            return False
        fresh = self._folder / f".{folder.name}.{self.token}"
        fresh.mkdir()
        try:
            crash.point("claim.made")
            replace_file(fresh / OWNER, json.dumps(self._owner).encode())
            os.rename(fresh, folder)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            if folder.is_dir():  # somebody was there first
                return False
            raise
        return True

    def _dead(self, folder: Path) -> bool:
        """Whether its owner is a process of this machine that is gone, or silent for too long."""
        try:
            owner = read_json(folder / OWNER)
            beat = (folder / OWNER).stat().st_mtime
        except (OSError, ValueError):
            owner, beat = None, None
        there = is_alive(owner)
        if there is not None:
            return not there
        if beat is None:  # between making the folder and writing into it, or killed there
            with contextlib.suppress(OSError):
                beat = folder.stat().st_mtime
        return beat is not None and self._now() - beat > self._stale

    def _now(self) -> float:
        """The disk's clock, which is the one that beats are told in."""
        probe = self._folder / f"clock-{self._owner['token']}"
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
        return now

    def finish(self, name: str, outcome: dict[str, Any]) -> None:
        """Records how a cell of ours ended; it is not run again."""
        replace_file(self._folder / name / DONE, to_json(sealed(outcome)).encode())
        self._mine.discard(name)

    def release(self, name: str) -> None:
        """Gives a cell of ours back, as it was not run to its end."""
        self._mine.discard(name)
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def reopen(self, name: str, ends: Collection[str]) -> None:
        """Frees a cell that has ended in one of these ways, whoever ran it."""
        folder, away = self._folder / name, self._folder / f".{name}.{self.token}.old"
        with FileLock(self._folder / "takeover.lock"):
            if (_done(folder) or {}).get("status") not in ends:
                return
            # At once: half removed, it would be a claim of whoever ran it, who may be alive.
            os.rename(folder, away)
        shutil.rmtree(away, ignore_errors=True)

    def states(self, names: Iterable[str]) -> dict[str, dict[str, Any] | None]:
        """How cells ended; an empty table for those in somebody's hands, None for free ones."""
        return self.look(self._folder.parent, names)

    @staticmethod
    def look(root: Path, names: Iterable[str]) -> dict[str, dict[str, Any] | None]:
        """The same for OUT/SUITE, by one who claims nothing."""
        found: dict[str, dict[str, Any] | None] = {}
        for name in names:
            folder = root / FOLDER / name
            found[name] = {} if folder.is_dir() else None
            done = _done(folder)
            found[name] = done if done is not None else found[name]
        return found


def _done(folder: Path) -> dict[str, Any] | None:
    """How a cell ended; None if that is not recorded, or the record is damaged."""
    try:
        done: Any = read_json(folder / DONE)
    except (OSError, ValueError):
        return None
    return unsealed(done) if isinstance(done, dict) and not flaw(done) else None


def held(folder: Path, token: str) -> bool:
    """Whether a claim's folder is seen from here, is of this owner, and its cell not yet done."""
    try:
        owner = read_json(folder / OWNER)
    except (OSError, ValueError):
        return False
    ours = isinstance(owner, dict) and owner.get("token") == token
    return ours and _done(folder) is None
