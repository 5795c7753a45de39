"""How the processes of a run find each other: all of them call at process 0, before jax starts, so
that what does not fit together is told in a sentence. Imports no jax.
"""

import contextlib
import errno
import queue
import socket
import time
from collections.abc import Callable
from typing import Any

from rlbench.errors import UsageError
from rlbench.hosts.lines import Line, Message
from rlbench.hosts.places import Place

WAIT_SECONDS = 300.0
NOTE_SECONDS = 2.0
"""Waiting for longer than that is told."""
TURN_SECONDS = 0.2

Hello = dict[str, Any]
"""What a process says of itself: at least `index` and `count`; all but `about` must be equal."""


def listen(place: Place) -> socket.socket:
    """Takes the port that others call at.

    Raises:
        UsageError: it cannot be had.
    """
    try:
        return socket.create_server(("127.0.0.1" if place.local else "", place.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {place.port} is in use on this machine: choose another one in --hosts, or "
                "another --host-index if process 0 runs already"
            ) from None
        raise UsageError(
            f"cannot listen on port {place.port} of this machine: {error.strerror}; choose one "
            "from 1024 to 65535 in --hosts"
        ) from None


def difference(ours: Any, theirs: Any, name: str = "") -> str:
    """The first value of two pieces of plain data that differs, in words; empty if none does."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            path = f"{name}.{key}" if name else str(key)
            if told := difference(ours.get(key), theirs.get(key), path):
                return told
        return ""
    return "" if ours == theirs else f"{name} is {theirs} there and {ours} in process 0"


class Gathering:
    """Process 0 while the others call."""

    def __init__(self, place: Place, hello: Hello) -> None:
        """Listens from now on.

        Raises:
            UsageError: it cannot.
        """
        self._place, self._hello, self._server = place, hello, listen(place)
        self._server.settimeout(TURN_SECONDS)
        self._callers: list[Line] = []
        self.lines: dict[int, Line] = {}
        self.hellos: dict[int, Hello] = {0: hello}

    def missing(self) -> str:
        """Who has not called yet."""
        absent = [str(i) for i in range(1, self._place.count) if i not in self.lines]
        return f"process{'es' if len(absent) > 1 else ''} {', '.join(absent)}"

    def turn(self) -> bool:
        """Answers who calls now.

        Returns:
            Whether all have called.

        Raises:
            UsageError: somebody does not fit; all who have called are told.
        """
        with contextlib.suppress(TimeoutError):
            self._callers.append(Line(self._server.accept()[0]))
        for caller in list(self._callers):
            with contextlib.suppress(queue.Empty):
                self._admit(caller, caller.receive(timeout=0.01))
        for index, line in self.lines.items():
            if line.lost:
                self.refuse(f"process {index} of {self._place.count} left before all had come")
        return len(self.lines) == self._place.count - 1

    def _admit(self, caller: Line, said: Message) -> None:
        index = said.get("index")
        if not isinstance(index, int) or not 0 <= index < 1 << 31:
            self._callers.remove(caller)  # a stranger, who is not answered
            return caller.close()
        ours, theirs = ({**x, "index": 0, "about": 0} for x in (self._hello, said))
        if told := difference(ours, theirs):
            self.refuse(f"process {index} does not fit: {told}")
        if index in self.hellos:
            self.refuse(
                f"two processes have --host-index {index}; each of the {self._place.count} needs "
                "its own, from 0 on"
            )
        self._callers.remove(caller)
        self.lines[index], self.hellos[index] = caller, said

    def refuse(self, why: str) -> None:
        """Tells all who have called, and ends the joining.

        Raises:
            UsageError: says why, always.
        """
        self._server.close()
        for line in (*self.lines.values(), *self._callers):
            line.send({"refused": why})
            line.close()
        raise UsageError(why)

    def close(self) -> None:
        """Nobody else is let in."""
        self._server.close()
        for caller in self._callers:
            caller.close()


def gather(
    place: Place, hello: Hello, note: Callable[[str], None], wait: float = WAIT_SECONDS
) -> Gathering:
    """Waits, as process 0, until every other process has called.

    Args:
        place: this process's.
        hello: what it says of itself.
        note: told what is waited for, if it takes long.
        wait: seconds until it is given up.

    Raises:
        UsageError: somebody does not come, or does not fit.
    """
    gathering = Gathering(place, hello)
    begun, noted = time.monotonic(), False
    while not gathering.turn():
        waited = time.monotonic() - begun
        if waited > wait:
            gathering.refuse(
                f"{gathering.missing()} of {place.count} did not come within {wait:g} s; start "
                "each with this command and its own --host-index"
            )
        if waited > NOTE_SECONDS and not noted:
            noted = True
            note(f"waiting for {gathering.missing()} of {place.count} on port {place.port}")
    gathering.close()
    return gathering


def call(
    place: Place, hello: Hello, note: Callable[[str], None], wait: float = WAIT_SECONDS
) -> tuple[Line, Message]:
    """Calls at process 0, and waits until all have done so.

    Returns:
        The line to it, and its message to all.

    Raises:
        UsageError: it does not answer, or refuses.
    """
    where = f"{place.host}:{place.port}"
    line = Line(_reach(place, where, note, wait))
    line.send(hello)
    begun, noted = time.monotonic(), False
    while True:
        with contextlib.suppress(queue.Empty):
            said = line.receive(timeout=TURN_SECONDS)
            if "refused" in said:
                raise UsageError(str(said["refused"]))
            return line, said
        if line.lost:
            raise UsageError(
                f"process 0 at {where} ended before all processes had come ({line.lost})"
            )
        if time.monotonic() - begun > NOTE_SECONDS and not noted:
            noted = True
            note(f"process {place.index} of {place.count} waits for the others")


def _reach(place: Place, where: str, note: Callable[[str], None], wait: float) -> socket.socket:
    begun, noted = time.monotonic(), False
    while True:
        try:
            return socket.create_connection((place.host, place.port), timeout=10.0)
        except OSError as error:
            waited = time.monotonic() - begun
            if waited > wait:
                raise UsageError(
                    f"process 0 does not answer at {where} within {wait:g} s "
                    f"({error.strerror or error}); start it with this command and --host-index 0"
                ) from None
        if waited > NOTE_SECONDS and not noted:
            noted = True
            note(f"waiting for process 0 at {where}")
        time.sleep(TURN_SECONDS)
