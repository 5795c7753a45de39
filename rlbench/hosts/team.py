"""The processes of one run, as each of them sees the others.

All processes run the same program on the same devices. What depends on a clock or a signal is
decided by process 0 for all, over a line (`rlbench.hosts.lines`) to each. A process that is lost or
gives up ends the others, with a sentence: none could go on without it.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rlbench import machine
from rlbench.errors import UsageError
from rlbench.hosts.joining import Hello, call, difference, gather
from rlbench.hosts.lines import BEAT_SECONDS, SILENT_BEATS, Line, Message
from rlbench.hosts.places import Place, find_place
from rlbench.hosts.start import free_port, start_jax
from rlbench.installed import usable_cores, versions

LOST, INTERRUPTED = 3, 4


class Alone:
    """A run in one process.

    Attributes:
        index: this process's number; process 0 records.
        count: number of processes.
        members: processor and usable cores of each process, where there are several.
    """

    index = 0
    count = 1
    members: Sequence[dict[str, Any]] = ()

    def start_jax(self) -> None:
        """Joins the devices of all processes; before jax's backends start."""

    def same(self, mine: dict[str, Any]) -> None:
        """Waits for the others, and holds plain data of theirs to this.

        Raises:
            UsageError: somebody's differs; says where.
        """

    def share(self, value: Any) -> Any:
        """Process 0's value, which is plain data, in all of them."""
        return value

    def hear(self, stopped: bool) -> bool:
        """Waits for the others; in process 0, whether any process wants to stop."""
        return stopped

    def tell(self, stopped: bool, seconds: float) -> tuple[bool, float]:
        """Process 0's decision to stop, and its clock of training, for all."""
        return stopped, seconds

    def when_ended(self, record: Callable[[str, str], None]) -> None:
        """Has `record(status, reason)` called before this process ends with another."""

    def over(self) -> None:
        """The others are not needed any more."""

    def explain(self, error: BaseException) -> None:
        """Ends this process if the error is of the loss of another; otherwise returns."""

    def end(self, status: str, path: Path) -> None:
        """Tells the others how the run ended, and where it is recorded."""

    def outcome(self) -> tuple[str, str]:
        """What process 0's `end` said, once it has."""
        raise RuntimeError("process 0 makes the outcome")

    def leave(self, code: int, why: str) -> None:
        """Ends all processes with this status, if there are several; otherwise returns."""


class Team(Alone):
    """A run in several processes, this one of them.

    Attributes:
        finished: the loss of another process matters no more.
    """

    def __init__(
        self, place: Place, lines: dict[int, Line], members: Sequence[dict[str, Any]], service: int
    ) -> None:
        """Watches over the others from now on.

        Args:
            place: this process's.
            lines: to every other process in process 0, to process 0 in the others.
            members: as in `Alone`.
            service: the port of jax's coordination service.
        """
        self.index, self.count, self.members = place.index, place.count, members
        self._place, self._lines, self._service = place, lines, service
        self._ending, self.finished = threading.Lock(), False
        self._record: Callable[[str, str], None] = lambda status, reason: None
        for index, line in lines.items():
            line.watch(partial(self._lost, index), self._told)

    def start_jax(self) -> None:
        """Joins the devices of all processes; before jax's backends start.

        Raises:
            UsageError: jax cannot.
        """
        start_jax(self._place, self._service)

    def same(self, mine: dict[str, Any]) -> None:
        """As `Alone` says."""
        if self.index:
            self._lines[0].send({"same": mine})
            self._lines[0].receive()
            return
        ours = json.loads(json.dumps(mine))  # a tuple arrives as a list
        for index, line in self._lines.items():
            if told := difference(ours, line.receive()["same"]):
                raise UsageError(f"process {index} was started with another command: {told}")
        for line in self._lines.values():
            line.send({"same": True})

    def share(self, value: Any) -> Any:
        """As `Alone` says."""
        if self.index:
            return self._lines[0].receive()["share"]
        for line in self._lines.values():
            line.send({"share": value})
        return value

    def hear(self, stopped: bool) -> bool:
        """As `Alone` says."""
        if self.index:
            self._lines[0].send({"stop": stopped})
            return stopped
        return any([stopped, *[line.receive()["stop"] for line in self._lines.values()]])

    def tell(self, stopped: bool, seconds: float) -> tuple[bool, float]:
        """As `Alone` says."""
        if self.index:
            said = self._lines[0].receive()
            return bool(said["stop"]), float(said["seconds"])
        for line in self._lines.values():
            line.send({"stop": stopped, "seconds": seconds})
        return stopped, seconds

    def when_ended(self, record: Callable[[str, str], None]) -> None:
        """As `Alone` says."""
        self._record = record

    def over(self) -> None:
        """As `Alone` says; the others still need process 0."""
        if self.index == 0:
            self.finished = True

    def explain(self, error: BaseException) -> None:
        """As `Alone` says.

        A collective fails as soon as a process is gone, and the line to it may tell a little later.
        """
        import jax

        if isinstance(error, jax.errors.JaxRuntimeError):
            time.sleep(BEAT_SECONDS * (SILENT_BEATS + 2))

    def end(self, status: str, path: Path) -> None:
        """As `Alone` says."""
        for line in self._lines.values():
            line.send({"end": status, "path": str(path)})

    def outcome(self) -> tuple[str, str]:
        """As `Alone` says."""
        said = self._lines[0].receive()
        return str(said["end"]), str(said["path"])

    def leave(self, code: int, why: str) -> None:
        """As `Alone` says."""
        with self._ending:
            self._say_gone(f"process {self.index} of {self.count} ended: {why}", code)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # jax's own end would wait for the others

    def _lost(self, index: int, how: str) -> None:
        self._end_with(f"process {index} of {self.count} was lost: {how}", LOST)

    def _told(self, message: Message) -> bool:
        """Whether a message was for the listening thread alone."""
        if "gone" in message:
            self._end_with(str(message["gone"]), int(message["code"]))
        if "end" in message:
            self.finished = True
        return "gone" in message

    def _say_gone(self, why: str, code: int) -> None:
        for line in self._lines.values():
            line.send({"gone": why, "code": code})

    def _end_with(self, why: str, code: int) -> None:
        """Ends this process as another has ended; the main thread may hang in a collective."""
        with self._ending:
            if self.finished:
                return
            self._say_gone(why, code)
            self._record("interrupted" if code == INTERRUPTED else "failed", why)
            show = "\r\x1b[K\x1b[?25h" if sys.stderr.isatty() else ""
            hint = "; start all processes again, with --resume" if code == LOST else ""
            os.write(2, f"{show}rlbench: {why}{hint}\n".encode())
            os._exit(code)


def _hello(place: Place) -> Hello:
    about = {"processor": machine.processor(), "usable_cores": usable_cores()}
    told = {"versions": versions(), **machine.commit()}
    return {"index": place.index, "count": place.count, **told, "about": about}


def join(hosts: str, index: str, quiet: bool = False) -> Alone:
    """The processes of this run, once all of them are there.

    Args:
        hosts: `--hosts`; empty for a run in this process alone.
        index: `--host-index`.
        quiet: print nothing while others are waited for.

    Raises:
        UsageError: the flags are wrong, a process does not come, or they do not fit together.
    """
    place = find_place(hosts, index)
    if place is None:
        return Alone()

    def note(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    hello = _hello(place)
    if place.index:
        line, said = call(place, hello, note)
        return Team(place, {0: line}, said["members"], said["service"])
    found = gather(place, hello, note)
    members = [found.hellos[i]["about"] for i in range(place.count)]
    service = free_port()
    for line in found.lines.values():
        line.send({"service": service, "members": members})
    return Team(place, found.lines, members, service)
