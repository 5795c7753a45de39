"""Turns a hang into a sentence.

XLA's thread pool can deadlock when one process drives several host devices through a heavy program
(seen with Brax's generalized backend): nothing computes, and nothing can be interrupted. A process
that waits on a compiled call and uses no processor time is hanging; slow programs are not.
"""

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

TICK_SECONDS = 5.0
IDLE_TICKS = 12
IDLE_SHARE = 0.01
STALLED = (
    "no progress and no processor time for a minute: XLA's thread pool is probably deadlocked; "
    "run again with --host-devices 1"
)


def end_as_stalled(record: Callable[[str, str], None]) -> None:
    """Records (status, reason) and ends the process: inside XLA nothing can be interrupted."""
    record("failed", STALLED)
    os.write(2, f"rlbench: {STALLED}\n".encode())
    os._exit(3)


class Watchdog:
    """Calls `on_stall` from a thread once the process has been idle for a minute inside `with`.

    Ticks are counted, not wall-clock, so that a suspended process is not taken for a hanging one.
    """

    def __init__(
        self,
        on_stall: Callable[[], None],
        tick_seconds: float = TICK_SECONDS,
        idle_ticks: int = IDLE_TICKS,
    ) -> None:
        """Says what to do, how often to look, and how many idle looks in a row are a stall."""
        self._on_stall = on_stall
        self._tick = tick_seconds
        self._limit = idle_ticks
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        idle, before = 0, time.process_time()
        while not self._done.wait(self._tick):
            used = time.process_time() - before
            before += used
            idle = idle + 1 if used < IDLE_SHARE * self._tick else 0
            if idle >= self._limit:
                self._on_stall()
                return
