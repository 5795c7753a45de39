"""A core of this machine for one cell alone, where nobody else gives them out. Imports no jax."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def free_core() -> Iterator[tuple[int, ...]]:
    """Holds a core that no other caller holds, as a lock that ends with its process.

    Yields:
        The core's number; nothing if all are taken, or cannot be told apart here: to share cores
        is better than to wait for somebody who may never end.
    """
    with ExitStack() as stack:
        yield _take(stack)


def _take(stack: ExitStack) -> tuple[int, ...]:
    folder = _folder()
    if folder is None or not hasattr(os, "sched_getaffinity"):
        return ()
    for core in sorted(os.sched_getaffinity(0)):
        with contextlib.suppress(Timeout, OSError):
            stack.enter_context(FileLock(folder / f"{core}.lock").acquire(timeout=0))
            return (core,)
    return ()


def _folder() -> Path | None:
    """Where a user's locks are; None if somebody else made what is there."""
    if not hasattr(os, "getuid"):
        return None
    folder = Path(tempfile.gettempdir()) / f"rlbench-cores-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    return folder if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() else None
