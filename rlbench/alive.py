"""Which process wrote something, and whether it is there still. Imports no jax.

A process number means nothing on another machine, nor on this one after a restart, so it goes with
the machine's boot id, which is drawn at random at every start and names no machine; and numbers are
given again, so it goes with the time the process began.
"""

import contextlib
import os
import uuid
from pathlib import Path
from typing import Any

import psutil


def _boot() -> str:
    """This machine, since it was started."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{uuid.getnode():x}-{psutil.boot_time():.0f}"


def this_process() -> dict[str, Any]:
    """What tells this process from all others: `pid`, `started` and `boot`."""
    return {"pid": os.getpid(), "started": psutil.Process().create_time(), "boot": _boot()}


def is_alive(process: Any) -> bool | None:
    """Whether a process is there still, told by what it said of itself.

    Returns:
        None if that cannot be told from here: it is another machine's, or said nothing.
    """
    if not isinstance(process, dict) or process.get("boot") != _boot():
        return None
    try:
        began = psutil.Process(process["pid"]).create_time()
        return bool(abs(began - process["started"]) < 1.0)
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        return False
