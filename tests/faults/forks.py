"""Commands forked from a process that has imported what takes seconds: the short form's are.

What is run, killed and refused is the same; that a fresh interpreter does it, the full form shows.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO

from rlbench.cli import main

HEAVY = ("jax", "orbax.checkpoint", "optax", "flax", "seaborn", "rlbench.runner")
"""All but what starts jax's backends, whose threads a fork would lose: that is gymnax and Brax."""
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*HEAVY, __name__])
_one_at_a_time = threading.Lock()
"""Processes of multiprocessing are looked after by one thread."""


def _child(argv: list[str], variables: dict[str, str], cwd: str, out: str, errors: str) -> None:
    from jax._src.xla_bridge import backends_are_initialized

    assert not backends_are_initialized()
    for number, name in ((1, out), (2, errors)):
        file = os.open(name, os.O_WRONLY)
        os.dup2(file, number)
        os.close(file)
    os.environ.update(variables)
    os.chdir(cwd)
    sys.argv = ["rlbench", *argv]
    sys.exit(main(argv))


class Forked:
    """A command going on, with as much of `subprocess.Popen` as is used here."""

    def __init__(self, argv: list[str], variables: dict[str, str], cwd: Path) -> None:
        self._files = [self._file(), self._file()]
        names = [file.name for file in self._files]
        with _one_at_a_time:
            self._process = _context.Process(
                target=_child, args=(argv, variables, str(cwd), *names)
            )
            self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @staticmethod
    def _file() -> IO[str]:
        return tempfile.NamedTemporaryFile("r", errors="replace")

    @property
    def returncode(self) -> int | None:
        """As Popen's: minus the signal that ended it."""
        with _one_at_a_time:
            return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Its stdout and stderr once it has ended."""
        wait([self._process.sentinel], timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        out, errors = (file.read() for file in self._files)
        return out, errors
