"""A way to process 0's coordination service that stays open when the service is gone.

jax ends a process at once, with a stack trace of C++, when its connection to the coordination
service closes: before anything of ours could say what happened, or to whom. So the connection leads
over a relay in this process, which lets the end of the service pass for silence. The line between
the processes (`rlbench.hosts.lines`) tells of the loss at the same moment, in a sentence.
"""

import contextlib
import socket
import threading
import time

PIECE = 1 << 16


class Relay:
    """Passes connections to a port of this machine on to another address, in threads."""

    def __init__(self, host: str, port: int) -> None:
        """Listens from now on.

        Args:
            host: where connections lead.
            port: likewise.
        """
        self._target = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._server.accept()
            threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        far = self._reach()
        if far is None:
            near.close()
            return
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_pump, args=(far, near), daemon=True).start()
        _pump(near, far)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)  # `close` would wait for the other thread
        far.close()
        near.close()

    def _reach(self) -> socket.socket | None:
        """The service may not listen yet."""
        for _ in range(100):
            with contextlib.suppress(OSError):
                return socket.create_connection(self._target, timeout=None)
            time.sleep(0.1)
        return None


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Passes on what comes until the source ends, whether or not the target still takes it."""
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            with contextlib.suppress(OSError):
                target.sendall(piece)
