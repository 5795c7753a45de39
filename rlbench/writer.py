"""Who writes a run directory: it appears whole, grows by whole rows, and is sealed at its end.

At any moment a kill leaves a directory that can be read and gone on with; its status is `running`,
of a process that is gone.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from rlbench import alive, crash
from rlbench.config import RunConfig
from rlbench.errors import UsageError, WriteError
from rlbench.files import (
    MAX_JSON,
    clear_temporary,
    digest,
    read_bytes,
    replace_file,
    to_json,
)
from rlbench.folders import beside, open_alone, put, remove, replacing
from rlbench.seal import FILES, sealed
from rlbench.store import METRICS, STATUSES, now


class RunWriter:
    """Writes one run directory."""

    def __init__(self, path: Path, config: RunConfig, provenance: dict[str, Any]) -> None:
        """Makes the directory, replacing what was there, and marks the run as running.

        Raises:
            UsageError: it cannot be made, or another process writes to it; what was there is whole.
        """
        self.path, self._started = beside(path, "new"), now()
        with _refusing(path), replacing(path / METRICS):
            self.path.mkdir(parents=True)
            crash.point("run.made")
            try:
                self._begin(open_alone(self.path / METRICS, create=True))
                self._json("config.json", config.to_json())
                self._json("provenance.json", sealed(provenance))
                self._status("running", "")
                put(self.path, path)
            except BaseException:
                remove(self.path)
                raise
        self.path = path

    def _begin(self, metrics: BinaryIO) -> None:
        self._metrics, self._length = metrics, 0
        self._hash, self._digests = hashlib.sha256(), dict[str, str]()

    @classmethod
    def resume(
        cls, path: Path, provenance: dict[str, Any], rows: dict[str, Any], started: str
    ) -> "RunWriter":
        """Takes up a run directory where a checkpoint left it.

        Args:
            path: the directory.
            provenance: its own, and who goes on with it.
            rows: what `sync` said of metrics.jsonl then; what is after that is cut.
            started: when the run was begun.

        Raises:
            UsageError: it cannot be written, another process writes to it, or metrics.jsonl is not
                what it was.
        """
        writer = cls.__new__(cls)
        writer.path, writer._started = path, started
        with _refusing(path):
            writer._begin(open_alone(path / METRICS, create=False))
            try:
                writer._go_on(rows, provenance)
            except BaseException:
                writer._metrics.close()
                raise
            clear_temporary(path)
        return writer

    def _go_on(self, rows: dict[str, Any], provenance: dict[str, Any]) -> None:
        length = int(rows["metrics_bytes"])
        whole = self._metrics.read(length)
        self._hash.update(whole)
        if len(whole) < length or rows.get("metrics_sha256", self._sha256) != self._sha256:
            raise UsageError(
                f"{self.path} is damaged: metrics.jsonl is not what it was at its last checkpoint; "
                "--overwrite runs it anew"
            )
        self._digests["config.json"] = digest(read_bytes(self.path / "config.json", MAX_JSON))
        self._status("running", "")  # first: the old status may list what changes now
        crash.point("resume.truncate")
        os.ftruncate(self._metrics.fileno(), length)
        self._length = length
        crash.point("resume.truncated")
        self._json("provenance.json", sealed(provenance))

    @property
    def _sha256(self) -> str:
        return self._hash.hexdigest()

    def _json(self, name: str, content: dict[str, Any]) -> None:
        self._replace(name, (to_json(content, indent=2) + "\n").encode())

    def _replace(self, name: str, data: bytes) -> None:
        replace_file(self.path / name, data)
        self._digests[name] = digest(data)

    def row(self, kind: str, **values: Any) -> None:
        """Appends one line to metrics.jsonl.

        Raises:
            WriteError: the disk refuses, or the file is gone; the lines before are whole.
        """
        line = (to_json({"kind": kind, **values}) + "\n").encode()
        with self._telling(METRICS):
            self._check_there()
            try:
                self._append(line[: len(line) // 2])
                crash.point("metrics.write")
                self._append(line[len(line) // 2 :])
            except OSError:
                os.ftruncate(self._metrics.fileno(), self._length)
                raise
        self._hash.update(line)
        self._length += len(line)

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._metrics.write(left) :]

    def _check_there(self) -> None:
        """A file that was deleted takes rows for ever, and nobody will ever read them."""
        ours = os.fstat(self._metrics.fileno())
        with suppress(FileNotFoundError):
            there = os.stat(self.path / METRICS)
            if (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev):
                return
        raise WriteError(f"{self.path / METRICS} was removed or replaced during the run")

    def status(self, status: str, reason: str = "", **totals: Any) -> None:
        """Replaces status.json.

        Raises:
            WriteError: the disk refuses, or the directory is gone.
        """
        with self._telling("status.json"):
            self._status(status, reason, **totals)

    def _status(self, status: str, reason: str, **totals: Any) -> None:
        assert status in STATUSES
        if status == "running":
            files = {k: v for k, v in self._digests.items() if k == "config.json"}
            more: dict[str, Any] = {"process": alive.this_process()}
        else:
            files = self._digests | {METRICS: self._sha256}
            more = {"ended": now()}
        content = {"status": status, "reason": reason, "started": self._started, **more, **totals}
        text = to_json(sealed({**content, FILES: files}), indent=2) + "\n"
        replace_file(self.path / "status.json", text.encode())

    def sync(self) -> dict[str, Any]:
        """Makes the metrics durable; how many bytes they are, and their hash.

        Raises:
            WriteError: the disk refuses.
        """
        with self._telling(METRICS):
            crash.point("metrics.sync")
            os.fsync(self._metrics.fileno())
        return {"metrics_bytes": self._length, "metrics_sha256": self._sha256}

    def file(self, name: str, data: bytes) -> None:
        """Writes another file of the run.

        Raises:
            WriteError: the disk refuses, or the directory is gone.
        """
        with self._telling(name):
            self._replace(name, data)

    def close(self) -> None:
        """Makes the metrics durable.

        Raises:
            WriteError: the disk refuses.
        """
        if not self._metrics.closed:
            try:
                self.sync()
            finally:
                self._metrics.close()

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self.path.is_dir():
                raise WriteError(f"{self.path} was removed or moved during the run") from None
            raise WriteError(f"cannot write {self.path / name}: {error.strerror}") from None


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


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Before a run has begun nothing is lost: a mistake of the user's."""
    try:
        yield
    except BlockingIOError:
        raise UsageError(
            f"another process is writing to {path}; wait for its end, or stop it"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror}") from None
