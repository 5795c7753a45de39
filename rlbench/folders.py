"""A folder that appears whole and then replaces another; a file that one process writes.

Imports no jax.
"""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rlbench import crash
from rlbench.files import sync_folder

try:
    import fcntl
except ImportError:  # Windows, where two writers of one file are not told apart
    fcntl = None  # type: ignore[assignment]

LOCK_SECONDS = 5.0
"""How long a writer that was just killed may take to be gone."""


def open_alone(path: Path, create: bool) -> BinaryIO:
    """A file to append to, which is this process's alone as long as it is open.

    Raises:
        BlockingIOError: another process has it.
        OSError: it cannot be opened, or is a link.
    """
    flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0)
    handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
    file = os.fdopen(handle, "r+b", buffering=0)
    end = time.monotonic() + LOCK_SECONDS
    while fcntl:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                file.close()
                raise
            time.sleep(0.1)
        except OSError:  # a disk without locks
            break
    return file


def locks_work(file: Path) -> bool:
    """Whether `open_alone` keeps a second writer of this file, which must be there, away.

    Raises:
        OSError: it cannot be opened.
    """
    if not fcntl:
        return False
    with open(file, "ab") as first, open(file, "ab") as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def beside(path: Path, what: str) -> Path:
    """A hidden folder's name, which no search for runs looks into."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{what}")


def put(fresh: Path, path: Path) -> None:
    """Moves a directory to its place; what is there is moved aside first, and goes when it is.

    Killed between the two moves, neither is in place: the command that is given again finds none.
    """
    old = beside(path, "old")
    crash.point("run.replace")
    if path.exists():
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        os.replace(path, old)
    try:
        crash.point("run.make")
        os.replace(fresh, path)
    except OSError:
        if old.exists():
            os.replace(old, path)
        raise
    sync_folder(path.parent)
    for left in path.parent.glob(f".{path.name}.*.*"):
        if left.suffix in (".old", ".new"):
            remove(left)


def remove(folder: Path) -> None:
    """Removes a folder, or a link to one; what a link leads to stays."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replacing(file: Path) -> Iterator[None]:
    """Nobody else writes to the folder of this file meanwhile, if there is one.

    Raises:
        BlockingIOError: another process does.
    """
    old = None
    try:
        old = open_alone(file, create=False)
    except BlockingIOError:
        raise
    except OSError:  # none, or a link, which goes unread
        pass
    try:
        yield
    finally:
        if old:
            old.close()
