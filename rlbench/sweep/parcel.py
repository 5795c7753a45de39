"""A run directory as bytes, for machines without a common disk. Imports no jax."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from rlbench import store
from rlbench.errors import UsageError

MAX_BYTES = 1 << 30
"""Of a whole run: it is held in memory on both sides."""


def pack(folder: Path) -> dict[str, bytes]:
    """The folder's files by name; nothing if there is no folder.

    Raises:
        UsageError: it holds something else than plain files, or more than `MAX_BYTES`.
        OSError: a file cannot be read.
    """
    if not folder.is_dir():
        return {}
    # Of a run that did not end well; it is run anew elsewhere.
    paths = sorted(p for p in folder.iterdir() if not p.name.startswith(store.CHECKPOINTS))
    found = {path: path.lstat() for path in paths}
    for path, status in found.items():
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path.name} in the run directory is not a plain file")
        store.check_name(path.name, "the file in the run directory")
    size = sum(status.st_size for status in found.values())
    if size > MAX_BYTES:
        raise UsageError(
            f"the run directory has {size >> 20:,} MiB, and at most {MAX_BYTES >> 20:,} are sent "
            "back; sweep into an --out that all machines share"
        )
    return {path.name: path.read_bytes() for path in paths}


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Writes what `pack` gave into a new folder.

    Raises:
        UsageError: a name could leave the folder.
        OSError: the disk refuses.
    """
    for name in files:
        store.check_name(name, "the file in the run directory")
    folder.mkdir()
    for name, content in files.items():
        with (folder / name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
