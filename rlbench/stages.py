"""Progress on stderr of a command with several stages: a live line on a terminal; elsewhere a line
when a stage has taken two seconds, and then, if it counts, every ten.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.status import Status

from rlbench.display import duration, quantity

QUIET_SECONDS, PLAIN_SECONDS = 2.0, 10.0
"""A stage says nothing before the first; without a terminal, a line every so many seconds."""


class Stages:
    """One line that says where a command is."""

    def __init__(self) -> None:
        """Says nothing yet."""
        self._console = Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._name, self._start, self._due = "", 0.0, 0.0
        self._alarm: threading.Timer | None = None
        if self._console.is_terminal:
            self._status = self._console.status("starting")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While it is to be seen."""
        try:
            with self._status or nullcontext():
                yield
        finally:
            self._calm()

    def tell(self, name: str, done: int = 0, of: int = 0, unit: str = "") -> None:
        """Where it is.

        Args:
            name: of the stage, e.g. "drawing".
            done: how many of its units.
            of: the most there can be; 0 where a stage does not count.
            unit: e.g. "frames".
        """
        now = time.monotonic()
        if name != self._name:
            self._calm()
            self._name, self._start, self._due = name, now, now + QUIET_SECONDS
            if not of:
                self._announce(f"{name} …")
        if of and now >= self._due:
            rate = done / max(now - self._start, 1e-9)
            eta = duration((of - done) / rate) if rate else "-"
            self._due = now + (0.1 if self._status else PLAIN_SECONDS)
            self._say(f"{name} {done:,}/{of:,} {unit} · {quantity(rate)} {unit}/s · ETA {eta}")

    def _announce(self, text: str) -> None:
        """Says it: where lines stay, only if the stage takes long (it may be one call into XLA)."""
        if self._status:
            self._say(text)
            return
        self._alarm = threading.Timer(QUIET_SECONDS, self._say, [text])
        self._alarm.daemon = True
        self._alarm.start()

    def _calm(self) -> None:
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None

    def _say(self, text: str) -> None:
        if self._status:
            self._status.update(text)
        else:
            self._console.print(text, markup=False)
