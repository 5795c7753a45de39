"""Asks `rlbench.sweep.resolve`, a process that has jax, what cells are. Imports no jax."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rlbench.errors import UsageError
from rlbench.stages import Stages

PART = 20
"""Cells that are asked for at a time, so that progress can be told."""


class Resolver:
    """The process, while it is needed. Remembers what it said."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._known: dict[tuple[str, ...], dict[str, Any]] = {}

    def __enter__(self) -> "Resolver":
        # It computes nothing on an accelerator; the runs will want the memory.
        env = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rlbench.sweep.resolve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=env,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process:
            self._process.communicate()
        self._errors.close()

    def __call__(self, cells: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """What `resolve_cell` says of every cell, in their order.

        Args:
            cells: flags of `rlbench run`.

        Raises:
            UsageError: the process ended.
        """
        asked = list(dict.fromkeys(tuple(cell) for cell in cells))
        new = [cell for cell in asked if cell not in self._known]
        stages = Stages()
        with stages.shown():
            for i in range(0, len(new), PART):
                stages.tell("resolving", i, len(new), "cells")
                part = new[i : i + PART]
                self._known.update(zip(part, self._ask(part), strict=True))
        return [self._known[tuple(cell)] for cell in cells]

    def _ask(self, cells: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        assert self._process and self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(cells) + "\n")
            self._process.stdin.flush()
            found: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().strip()
            last = (said.splitlines() or ["nothing"])[-1]
            raise UsageError(f"the cells cannot be resolved: {last}", said) from None
        return found
