"""Checkpoints of a run: its state and where its record was.

    checkpoints/120/        the state after 120 updates, written by orbax, whole or not at all
    checkpoints/120.json    where the record was, and SHA-256 of every array and file, and of itself

orbax keeps the last two. It returns a flipped bit as it is, so a checkpoint whose hashes are not
those that were written, or that has none, is set aside, and the one before it is taken.
"""

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbench import checkpoint_content, crash, store
from rlbench.arrays import Arrays
from rlbench.checkpoint_arrays import TEMPORARY, StoredArrays, reason
from rlbench.errors import RunError, UsageError, WriteError
from rlbench.files import (
    MAX_ARRAYS,
    clear_temporary,
    digest,
    json_digest,
    read_bytes,
    read_json,
    replace_file,
)
from rlbench.folders import remove

FOLDER = store.CHECKPOINTS
KEEP = 2


@dataclass(frozen=True)
class Checkpoint:
    """What was saved.

    Attributes:
        step: updates until then.
        arrays: the state's, by path.
        record: plain data: counts, clocks, and how far the run's files were written.
    """

    step: int
    arrays: Arrays
    record: dict[str, Any]


UNFINISHED = "it lacks its hashes, as of a process that was killed when it wrote it"


class DamagedError(Exception):
    """A checkpoint is not what was written; the message says how."""


def _array_digest(x: np.ndarray[Any, Any]) -> str:
    return digest(f"{x.shape} {x.dtype};".encode() + np.ascontiguousarray(x).tobytes())


def _file_digests(folder: Path) -> dict[str, str]:
    """Of all files below, by name; what is reached through a link is not of this folder."""
    paths = [folder, *sorted(folder.rglob("*"))]
    if links := [path for path in paths if path.is_symlink()]:
        raise DamagedError(f"{links[0].name} is a link")
    files = [path for path in paths if not path.is_dir()]
    return {p.relative_to(folder).as_posix(): digest(read_bytes(p, MAX_ARRAYS)) for p in files}


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, run: Path) -> None:
        """Takes the run directory; nothing is made yet."""
        self._folder = run.resolve() / FOLDER
        self._stored = StoredArrays(self._folder, KEEP)

    def save(self, step: int, arrays: Arrays, record: dict[str, Any]) -> None:
        """Writes a checkpoint, and removes those before the last two.

        Args:
            step: updates so far; more than at the last save.
            arrays: the state's, by path.
            record: plain data, no NaN.

        Raises:
            WriteError: the disk refuses it; earlier checkpoints stay.
        """
        try:
            crash.point("checkpoint.save")
            # orbax takes no array without elements; the seal holds all there is of them.
            self._stored.save(step, {name: x for name, x in arrays.items() if x.size})
            crash.point("checkpoint.saved")
            self._write_seal(step, arrays, record)
            crash.point("checkpoint.prune")
            for old in self._folder.glob("*.json"):
                if not old.with_suffix("").is_dir():
                    old.unlink(missing_ok=True)
        except (OSError, DamagedError) as error:
            if not self._seal(step).exists():  # half a checkpoint would read as a damaged one
                remove(self._folder / str(step))
            raise WriteError(f"cannot write checkpoint {step}: {reason(error)}") from None

    def _write_seal(self, step: int, arrays: Arrays, record: dict[str, Any]) -> None:
        content = {
            "step": step,
            "record": record,
            "arrays": {name: _array_digest(x) for name, x in arrays.items()},
            "empty": {n: [str(x.dtype), list(x.shape)] for n, x in arrays.items() if not x.size},
            "files": _file_digests(self._folder / str(step)),
        }
        sealed = {"content": content, "sha256": json_digest(content)}
        text = json.dumps(sealed, allow_nan=False)
        replace_file(self._seal(step), text.encode(), "checkpoint.json")

    def _seal(self, step: int) -> Path:
        return self._folder / f"{step}.json"

    def restore(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest checkpoint that is what was written.

        Returns:
            It, or None if there is none; and of every damaged one that was set aside, why.
        """
        told: list[str] = []
        self._clear()
        for step in sorted(self._steps(), reverse=True):
            try:
                return self.read(step), told
            except DamagedError as error:
                told.append(f"checkpoint {step} is damaged ({error}) and was set aside")
                self._set_aside(step)
        return None, told

    def _clear(self) -> None:
        """Removes what orbax, or we, had begun when the process was killed."""
        if self._folder.is_dir() and not self._folder.is_symlink():
            clear_temporary(self._folder)
            for left in self._folder.iterdir():
                if TEMPORARY in left.name:
                    remove(left)

    def _steps(self) -> list[int]:
        if self._folder.is_symlink():
            raise UsageError(f"{self._folder} is a link; checkpoints are in the run's own folder")
        if not self._folder.is_dir():
            return []
        return [int(p.name) for p in self._folder.iterdir() if p.name.isdecimal() and p.is_dir()]

    def read(self, step: int) -> Checkpoint:
        """One of them.

        Raises:
            DamagedError: it is not what was written, or is not there.
            RunError: it is more than the memory that is available.
        """
        content = self._sound(step)
        try:
            arrays = self._stored.read(step)
            for name, (dtype, shape) in content["empty"].items():
                arrays[name] = np.empty(shape, dtype)
        except RunError:
            raise
        except Exception as error:  # of orbax, numpy and below, at what a stranger has sealed
            raise DamagedError(f"orbax cannot read it: {reason(error)}") from None
        if {name: _array_digest(x) for name, x in arrays.items()} != content["arrays"]:
            raise DamagedError("its arrays have other hashes")
        return Checkpoint(step, arrays, content["record"])

    def flaws(self) -> dict[int, tuple[str, dict[str, Any]]]:
        """By step what is wrong with its files, empty if nothing is, and its record; without jax.

        Raises:
            OSError: the folder cannot be read.
            UsageError: it is a link.
        """
        found: dict[int, tuple[str, dict[str, Any]]] = {}
        for step in sorted(self._steps()):
            try:
                found[step] = "", self._sound(step)["record"]
            except DamagedError as error:
                found[step] = str(error), {}
        return found

    def _sound(self, step: int) -> dict[str, Any]:
        """What the seal says, if it is whole and all files are as it says."""
        if not self._seal(step).exists():
            raise DamagedError(UNFINISHED)
        try:
            sealed = read_json(self._seal(step))
            content: dict[str, Any] = sealed["content"]
            if sealed["sha256"] != json_digest(content):
                raise DamagedError(f"{step}.json has another hash")
            checkpoint_content.check(content, step)
            files = _file_digests(self._folder / str(step))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"{type(error).__name__}: {error}") from None
        for name in sorted(files.keys() | content["files"].keys()):
            if files.get(name) != content["files"].get(name):
                raise DamagedError(f"{step}/{name} has another hash, or is missing or too much")
        return content

    def _set_aside(self, step: int) -> None:
        try:
            self._move_aside(step)
        except OSError as error:
            raise UsageError(
                f"cannot move damaged checkpoint {step} out of {self._folder}: {error.strerror}"
            ) from None

    def _move_aside(self, step: int) -> None:
        self.close()
        aside = store.own(self._folder.parent, f"{FOLDER}-damaged")
        aside.mkdir(exist_ok=True)
        name = f"{step}-{secrets.token_hex(4)}"
        os.replace(self._folder / str(step), aside / name)
        crash.point("checkpoint.aside")
        if self._seal(step).exists():
            os.replace(self._seal(step), aside / f"{name}.json")

    def remove(self) -> None:
        """Removes them: the run has ended, and its last state is in its record."""
        self.close()
        # The run is ok whether that works or not.
        with suppress(OSError):
            crash.point("checkpoint.remove")
            remove(self._folder)

    def close(self) -> None:
        """Lets the files go."""
        self._stored.close()
