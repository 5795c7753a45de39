"""Run directories: written append-only and by atomic replacement, read without jax.

    <out>/<suite>/<env>/<algo>-<config hash>/seed-0003/
      config.json  provenance.json  status.json  metrics.jsonl  policy.safetensors  checkpoints/

`results/README.md` documents every field. A torn last line of metrics.jsonl (no newline) is cut by
the reader; NaN and infinities are written as null, and the row says `"nonfinite": true`.
"""

import json
import math
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlbench.config import RunConfig
from rlbench.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CHECKPOINTS = "checkpoints"
"""Folder of a run that has not ended."""
STATUSES = ("running", "ok", "failed", "diverged", "interrupted", "skipped")


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_name(name: str, what: str) -> str:
    """The name, if it can be a folder's.

    Raises:
        UsageError: it has characters that could leave the output directory.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{what} {name!r} cannot be a folder's name: up to 64 letters, digits, '.', '_' and "
            "'-', the first a letter or digit"
        )
    return name


def run_path(out: Path, config: RunConfig) -> Path:
    """The run's directory."""
    env, algo = (re.sub(r"[/@:]", "-", name) for name in (config.env, config.algo))
    env, algo = check_name(env, "env"), check_name(f"{algo}-{config.hash}", "algo")
    return out / check_name(config.suite, "suite") / env / algo / f"seed-{config.seed:04d}"


def _finite(value: Any) -> Any:
    """Plain data with None for NaN and infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def to_json(row: dict[str, Any], **options: Any) -> str:
    """A row as JSON that any reader takes."""
    try:
        return json.dumps(row, allow_nan=False, **options)
    except ValueError:
        return json.dumps({**_finite(row), "nonfinite": True}, allow_nan=False, **options)


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all; of several writers at once, one wins."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with temporary.open("wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def check_writable(path: Path, overwrite: bool, command: str) -> None:
    """Refuses a run directory that exists, or that could not be made.

    Raises:
        UsageError: says which, and what to do.
    """
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path} holds this run already; to run it again and replace it: {command} --overwrite"
        )
    nearest = path
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UsageError(f"cannot write to {path}: {nearest} is not a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to {path}: no permission in {nearest}")


class RunWriter:
    """Writes one run directory."""

    def __init__(self, path: Path, config: RunConfig, provenance: dict[str, Any]) -> None:
        """Makes the directory (replacing what was there) and marks the run as running.

        Raises:
            UsageError: it cannot be made.
        """
        self.path = path
        try:
            if path.exists():
                shutil.rmtree(path)
            path.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"cannot write to {path}: {error.strerror}") from None
        self._started = now()
        self._json("config.json", config.to_json())
        self._json("provenance.json", provenance)
        self.status("running")
        self._metrics = (path / "metrics.jsonl").open("a", encoding="utf-8")

    @classmethod
    def resume(
        cls, path: Path, provenance: dict[str, Any], metrics_bytes: int, started: str
    ) -> "RunWriter":
        """Takes up a run directory where a checkpoint left it.

        Args:
            path: the directory.
            provenance: its own, and who goes on with it.
            metrics_bytes: how much of metrics.jsonl there was; what is after that is cut.
            started: when the run was begun.

        Raises:
            UsageError: it cannot be written, or metrics.jsonl is shorter.
        """
        writer = cls.__new__(cls)
        writer.path, writer._started = path, started
        try:
            with (path / "metrics.jsonl").open("r+b") as metrics:
                if metrics.seek(0, os.SEEK_END) < metrics_bytes:
                    raise UsageError(
                        f"{path} is damaged: metrics.jsonl is shorter than at its last checkpoint"
                    )
                metrics.truncate(metrics_bytes)
            writer._json("provenance.json", provenance)
            writer.status("running")
            writer._metrics = (path / "metrics.jsonl").open("a", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write to {path}: {error.strerror}") from None
        return writer

    def _json(self, name: str, content: dict[str, Any]) -> None:
        replace_file(self.path / name, (to_json(content, indent=2) + "\n").encode())

    def row(self, kind: str, **values: Any) -> None:
        """Appends one line to metrics.jsonl."""
        self._metrics.write(to_json({"kind": kind, **values}) + "\n")
        self._metrics.flush()

    def status(self, status: str, reason: str = "", **totals: Any) -> None:
        """Replaces status.json."""
        assert status in STATUSES
        ended = {} if status == "running" else {"ended": now()}
        content = {"status": status, "reason": reason, "started": self._started, **ended, **totals}
        self._json("status.json", content)

    def sync(self) -> int:
        """Makes the metrics durable; their length in bytes."""
        self._metrics.flush()
        os.fsync(self._metrics.fileno())
        return os.fstat(self._metrics.fileno()).st_size

    def file(self, name: str, data: bytes) -> None:
        """Writes another file of the run."""
        replace_file(self.path / name, data)

    def close(self) -> None:
        """Makes the metrics durable."""
        if not self._metrics.closed:
            self.sync()
            self._metrics.close()


class NoWriter(RunWriter):
    """What a process has that takes part in a run which another one records."""

    def __init__(self) -> None:
        """Writes nothing."""

    def row(self, kind: str, **values: Any) -> None:
        """Does nothing."""

    def status(self, status: str, reason: str = "", **totals: Any) -> None:
        """Does nothing."""

    def file(self, name: str, data: bytes) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class RunRecord:
    """What a run directory holds.

    Attributes:
        path: the directory.
        config: config.json.
        provenance: provenance.json.
        status: status.json, with the totals.
        rows: metrics.jsonl, in order.
    """

    path: Path
    config: dict[str, Any]
    provenance: dict[str, Any]
    status: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The evaluation rows."""
        return [row for row in self.rows if row.get("kind") == "evaluation"]


def read_run(path: Path) -> RunRecord:
    """Reads a run directory, finished or not.

    Raises:
        UsageError: it is not one.
    """
    try:
        parts = [
            json.loads((path / name).read_text(encoding="utf-8"))
            for name in ("config.json", "provenance.json", "status.json")
        ]
        text = (path / "metrics.jsonl").read_text(encoding="utf-8")
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a run directory: {error}") from None
    whole = text[: text.rfind("\n") + 1]
    try:
        rows = [json.loads(line) for line in whole.splitlines()]
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: metrics.jsonl is not JSON ({error})") from None
    if not all(isinstance(part, dict) for part in (*parts, *rows)):
        raise UsageError(f"{path} is damaged: a file of it does not hold a table")
    config, provenance, status = parts
    return RunRecord(path, config, provenance, status, rows)
