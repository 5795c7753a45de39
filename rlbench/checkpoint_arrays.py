"""Arrays of a run's checkpoints as orbax keeps them: a folder a step, whole or not at all."""

import errno
import logging
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from rlbench.arrays import Arrays
from rlbench.errors import RunError

OVERHEAD = 1 << 18
"""Bytes of a checkpoint beside its arrays, with room to spare: 53 kB of blocks were seen."""
TEMPORARY = ".orbax-checkpoint-tmp"
"""In the name of a step that orbax has not finished."""


def reason(error: Exception) -> str:
    """Why, in a few words: what tensorstore says is a page."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    full = os.strerror(errno.ENOSPC)
    return full if full in str(error) else str(error).partition("\n")[0][:200]


class StoredArrays:
    """The steps in one folder."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Makes nothing yet.

        Args:
            folder: of the steps.
            keep: so many of the last steps.
        """
        self._folder, self._keep = folder, keep
        self._opened: Any = None

    @property
    def _manager(self) -> Any:
        """orbax's, which is dear to import: a run of seconds never does."""
        if self._opened is None:
            import jax
            import orbax.checkpoint as ocp

            # What goes wrong is told by us: orbax logs a stack of pages for a full disk.
            logging.getLogger("absl").setLevel(logging.CRITICAL)
            # Of several processes one writes, and each reads for itself: nobody is waited for.
            here = jax.process_index()
            alone = ocp.options.MultiprocessingOptions(primary_host=here, active_processes={here})
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self._keep,
                enable_async_checkpointing=False,
                create=False,
                multiprocessing_options=alone,
            )
            self._folder.mkdir(parents=True, exist_ok=True)
            kind = ocp.StandardCheckpointHandler()
            self._opened = ocp.CheckpointManager(self._folder, item_handlers=kind, options=options)
        return self._opened

    def save(self, step: int, arrays: Arrays) -> None:
        """Writes a step, and removes those before the last.

        Args:
            step: more than at the last save.
            arrays: by name, none of them without elements.

        Raises:
            OSError: the disk refuses it.
        """
        import orbax.checkpoint as ocp

        needed = sum(x.nbytes for x in arrays.values()) + OVERHEAD
        self._folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._folder).free < needed:  # later, orbax's threads print stacks
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            self._manager.save(step, args=ocp.args.StandardSave(arrays))
        except OSError:
            raise
        except Exception as error:  # its C++ part has errors of its own for what the disk says
            raise OSError(errno.EIO, reason(error)) from None

    def read(self, step: int) -> Arrays:
        """The arrays of a step, by name.

        Raises:
            RunError: they are more than the memory that is available.
            Exception: of orbax and below, where a file is not what orbax has written.
        """
        import orbax.checkpoint as ocp

        self._refuse_large(step)
        found = self._manager.restore(step, args=ocp.args.StandardRestore())
        return {name: np.asarray(x) for name, x in found.items()}

    def _refuse_large(self, step: int) -> None:
        """Before anything is allocated: where that fails, the process is aborted without a word."""
        from rlbench.memory import room_for, told_size

        needed = 0
        for x in self._manager.item_metadata(step).tree.values():
            # A chunk is read as a whole, however little of it is the array's.
            held = map(max, x.shape, x.storage.chunk_shape)
            needed += math.prod(held) * np.dtype(x.dtype).itemsize
        room = room_for(None)
        if needed > room.bytes:
            raise RunError(
                f"checkpoint {step} in {self._folder} holds {told_size(needed)}, more than "
                f"{room.told}; resume it where there is more",
                "",
            )

    def close(self) -> None:
        """Lets the files go."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
