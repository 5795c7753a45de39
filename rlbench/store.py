"""Run directories: where they are, and how they are read, with distrust. Imports no jax.

    <out>/<suite>/<env>/<algo>-<config hash>/seed-0003/
      config.json  provenance.json  status.json  metrics.jsonl  policy.safetensors  checkpoints/

`results/README.md` documents every field. A torn last line of metrics.jsonl (no newline) is cut by
the reader; NaN and infinities are written as null, and the row says `"nonfinite": true`.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlbench import record_shape, seal
from rlbench.alive import is_alive
from rlbench.config import RunConfig
from rlbench.errors import UsageError
from rlbench.files import MAX_JSON, MAX_METRICS, check_utf8, parse_json, read_bytes

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CHECKPOINTS = "checkpoints"
"""Folder of a run that has not ended."""
METRICS = "metrics.jsonl"
TABLES = ("config.json", "provenance.json", "status.json")
MARKS = ("config.json", "status.json", METRICS)
"""A directory that holds any of these is, or was, a run."""
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


def run_directories(root: Path) -> Iterator[Path]:
    """Every directory below, or at, `root` that is or was a run; links are not followed.

    Raises:
        UsageError: the name of one is not in UTF-8.
    """
    for folder, below, files in os.walk(root):
        if any(name in files for name in MARKS):
            check_utf8([folder])
            below.clear()
            yield Path(folder)
        else:
            # Hidden is what a sweep keeps for itself, and what was not finished.
            below[:] = sorted(name for name in below if not name.startswith("."))


def own(run: Path, name: str) -> Path:
    """A folder in a run directory, for what is made from the run.

    Raises:
        UsageError: it is a link, which would lead what is written out of the directory.
    """
    if (run / name).is_symlink():
        raise UsageError(f"{run / name} is a link; --out says where else to write")
    return run / name


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
        UsageError: it is not one, or not what was written.
    """
    try:
        contents = {name: read_bytes(path / name, MAX_JSON) for name in TABLES}
        contents[METRICS] = read_bytes(path / METRICS, MAX_METRICS)
        tables = [parse_json(contents[name]) for name in TABLES]
    except OSError as error:
        told = f"{Path(error.filename).name}: {error.strerror}"
        raise UsageError(f"{path} is not a run directory: {told}") from None
    except ValueError as error:
        raise UsageError(f"{path} is damaged: a file of it is not JSON ({error})") from None
    rows = _rows(path, contents[METRICS])
    if not all(isinstance(table, dict) for table in (*tables, *rows)):
        raise UsageError(f"{path} is damaged: a file of it does not hold a table")
    config, provenance, status = tables
    for name, table in zip(TABLES, tables, strict=True):
        if flaw := seal.flaw(table):
            raise UsageError(f"{path} is damaged: {name} is not what was written: {flaw}")
    if flaw := seal.flaw_of_files(status, contents):
        raise UsageError(f"{path} is damaged: {flaw}")
    if flaw := record_shape.flaw(status, rows):
        raise UsageError(f"{path} is damaged or of another version: {flaw}")
    return RunRecord(path, config, provenance, status, rows)


def _rows(path: Path, content: bytes) -> list[Any]:
    try:
        return [parse_json(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    except ValueError as error:
        raise UsageError(f"{path} is damaged: metrics.jsonl is not JSON ({error})") from None


def in_words(status: dict[str, Any]) -> str:
    """A status.json's status, and of one that says `running` whether that can be so."""
    said = str(status.get("status", "running"))
    if said != "running":
        return said
    there = is_alive(status.get("process"))
    if there is None:
        return "running, or killed on another machine or before a restart"
    return "running" if there else "killed: its process is gone"
