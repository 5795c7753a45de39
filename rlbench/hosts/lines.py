"""Lines between processes: messages in order, and word of who is gone.

A line is a TCP connection that carries JSON, a message a text line, and an empty text line every
second as a sign of life. That it closes tells of a process that ended; ten seconds of silence tell
of one that was stopped, of a machine that is off or a network that is down. Imports no jax.
"""

import contextlib
import json
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any

BEAT_SECONDS = 1.0
SILENT_BEATS = 10
"""Beats are counted, not seconds, so that a suspended machine does not take itself for lost."""
CLOSED = "its connection closed"
MOST_BYTES = 1 << 20
"""Of one message; more is nothing of ours."""

Message = dict[str, Any]


class Line:
    """One end of a line. Messages are received by one thread and taken by another.

    Attributes:
        lost: how the other end was lost; empty as long as it is there.
    """

    def __init__(self, connection: socket.socket, beat: float = BEAT_SECONDS) -> None:
        """Starts to listen and to give signs of life.

        Args:
            connection: open; the line owns it.
            beat: seconds between signs of life.
        """
        self.lost = ""
        self._when_lost: Callable[[str], None] = lambda how: None
        self._when_told: Callable[[Message], bool] = lambda message: False
        self._connection, self._beat = connection, beat
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(beat)
        self._writing, self._watching = threading.Lock(), threading.Lock()
        self._closed = threading.Event()
        self._messages: queue.Queue[Message] = queue.Queue()
        for work in (self._listen, self._live):
            threading.Thread(target=work, daemon=True).start()

    def watch(self, when_lost: Callable[[str], None], when_told: Callable[[Message], bool]) -> None:
        """Has the listening thread call these; the first at once if the other end is lost already.

        Args:
            when_lost: called with how, once.
            when_told: called with a message; true if that was all, and `receive` is not to have it.
        """
        with self._watching:
            self._when_lost, self._when_told = when_lost, when_told
            lost = self.lost
        if lost:
            when_lost(lost)

    def send(self, message: Message) -> None:
        """Sends one message; that nobody takes it any more is for the listening thread to tell."""
        self._write(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float | None = None) -> Message:
        """The next message.

        Raises:
            queue.Empty: there was none within `timeout` seconds.
        """
        return self._messages.get(timeout=timeout)

    def close(self) -> None:
        """Ends the line from this side; what was sent still arrives."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def _write(self, data: bytes) -> None:
        with self._writing, contextlib.suppress(OSError):
            self._connection.sendall(data)

    def _live(self) -> None:
        while not self._closed.wait(self._beat):
            self._write(b"\n")

    def _listen(self) -> None:
        how = self._until_lost()
        self._connection.close()
        if self._closed.is_set():
            return
        with self._watching:
            self.lost, tell = how, self._when_lost
        tell(how)

    def _until_lost(self) -> str:
        silent, rest = 0, b""
        while silent < SILENT_BEATS:
            try:
                piece = self._connection.recv(1 << 16)
            except TimeoutError:
                silent += 1
                continue
            except ConnectionError:
                return CLOSED  # reset, if the other end had not read all when it ended
            except OSError as error:
                return f"its connection broke: {error.strerror or error}"
            if not piece:
                return CLOSED
            silent, rest = 0, rest + piece
            *whole, rest = rest.split(b"\n")
            if len(rest) > MOST_BYTES or not all(map(self._take, filter(None, whole))):
                return "it sent what is no message"
        return f"no sign of life for {SILENT_BEATS * self._beat:g} s"

    def _take(self, text: bytes) -> bool:
        """Keeps a message for `receive`, unless whoever watches has dealt with it."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return False
        if not isinstance(message, dict):
            return False
        if not self._when_told(message):
            self._messages.put(message)
        return True
