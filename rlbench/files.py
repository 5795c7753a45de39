"""Files as they are read and written everywhere: with distrust, and whole or not at all.

What is read may come from a stranger: a name may be a pipe that never ends, or hold gigabytes. What
is written may be killed at any moment. Imports no jax.
"""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from rlbench import crash
from rlbench.bounds import LARGEST
from rlbench.errors import UsageError

MAX_JSON = 1 << 24
"""Bytes of a configuration, provenance, status, claim or plan."""
MAX_METRICS = 1 << 28
MAX_ARRAYS = 1 << 33
_LONG = re.compile(r"[ \t\n\r:\[,-][0-9]{19}")
"""Where an integer of more than 64 bits may be."""


def read_bytes(path: Path, limit: int) -> bytes:
    """A plain file's content.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger than `limit` bytes.
    """
    # Without waiting: to open a pipe would be to wait for its other end.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    with os.fdopen(handle, "rb") as file:
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {size_in_words(limit)}", str(path))
        return file.read(limit)


def size_in_words(size: int) -> str:
    """As 16 MiB."""
    return f"{size >> 20:,} MiB" if size >= 1 << 20 else f"{size:,} bytes"


def parse_json(data: bytes | str) -> Any:
    """JSON in UTF-8 that others may have written.

    Raises:
        ValueError: it is none, or is nested too deeply, or has what no file of ours has: an integer
            of more than 64 bits, which neither a float nor an array can hold, or half of a
            surrogate pair, which can be neither printed nor written.
    """
    text = data.decode() if isinstance(data, bytes) else data
    try:
        # A call for every integer would take four times as long, and few lines need it.
        large = _LONG.search(text) or text[:1].isdigit()
        found = json.loads(text, parse_int=_integer) if large else json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("it has half of a surrogate pair") from None
    return found


def _integer(digits: str) -> int:
    value = int(digits)
    refuse_large(value)
    return value


def refuse_large(data: Any) -> None:
    """The same of what another reader than `parse_json` has made.

    Raises:
        ValueError: it has such an integer.
    """
    if isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            refuse_large(value)
    elif isinstance(data, int) and abs(data) > LARGEST:
        raise ValueError(f"it has the integer {str(data)[:30]}, and the largest is {LARGEST}")


def check_utf8(names: Iterable[str]) -> None:
    """Refuses names that no text file and no page can hold.

    Raises:
        UsageError: one has bytes that are not UTF-8.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{name!r} is not in UTF-8; give it another name") from None


def read_json(path: Path, limit: int = MAX_JSON) -> Any:
    """A file's JSON.

    Raises:
        OSError: as `read_bytes`.
        ValueError: as `parse_json`.
    """
    return parse_json(read_bytes(path, limit))


def replace_file(path: Path, data: bytes, kind: str = "") -> None:
    """Writes a file whole or not at all; of several writers at once, one wins.

    Args:
        path: the file.
        data: its content.
        kind: by which `rlbench.crash` calls it; its name if empty.

    Raises:
        OSError: the disk refuses; what was there is whole.
    """
    kind = kind or path.name
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        crash.point(f"{kind}.create")
        with temporary.open("wb") as f:
            half = len(data) // 2
            f.write(data[:half])
            f.flush()
            crash.point(f"{kind}.write")
            f.write(data[half:])
            f.flush()
            crash.point(f"{kind}.sync")
            os.fsync(f.fileno())
        crash.point(f"{kind}.replace")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    crash.point(f"{kind}.replaced")


@contextmanager
def writing(where: Path) -> Iterator[None]:
    """Has told in a sentence that the disk refuses what is written within.

    Raises:
        UsageError: the sentence.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write to {where}: {os.strerror(error.errno or 0)}") from None


def sync_folder(folder: Path) -> None:
    """Makes what was renamed in a folder durable, where folders can be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(handle)
    except OSError:  # some network disks
        pass
    finally:
        os.close(handle)


TEMPORARY = re.compile(r".+\.(\d+)-[0-9a-f]{8}\.tmp")
"""Names that `replace_file` gives, with the process's number."""


def clear_temporary(folder: Path) -> None:
    """Removes what `replace_file` had begun in a folder when its process was killed."""
    for left in folder.glob("*.tmp"):
        name = TEMPORARY.fullmatch(left.name)
        if name and not psutil.pid_exists(int(name[1])) and not left.is_dir():
            left.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """Plain data with None for NaN and infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value


def to_json(row: dict[str, Any], **options: Any) -> str:
    """A row as JSON that any reader takes."""
    try:
        return json.dumps(row, allow_nan=False, **options)
    except ValueError:
        return json.dumps({**finite(row), "nonfinite": True}, allow_nan=False, **options)


def digest(data: bytes) -> str:
    """SHA-256, in hex digits."""
    return hashlib.sha256(data).hexdigest()


def json_digest(content: Any) -> str:
    """SHA-256 of plain data, whatever the order of its keys."""
    return digest(json.dumps(content, sort_keys=True).encode())
