"""Named points at which a test can end the process, or have the disk refuse.

`RLBENCH_CRASH=NAME` ends it with SIGKILL where it passes NAME for the first time, `NAME@3` for the
third; `NAME=ENOSPC` (or EIO) has the operation that begins there fail so, from then on. Without the
variable a point costs a look at a variable. `make faults` passes every one of them.
"""

import errno
import os
import signal
from collections import Counter

VARIABLE = "RLBENCH_CRASH"
STEPS = ("create", "write", "sync", "replace", "replaced")
"""Of a file that is written whole or not at all; "write" is amid its bytes."""
FILES = (
    *("config.json", "provenance.json", "status.json", "policy.safetensors", "checkpoint.json"),
    *("sweep.json", "owner.json", "done.json", "settings.toml", "report", "export"),
    *("reproduction.json", "figure"),
)
OTHERS = (
    "run.replace",  # before an older run is moved away
    "run.make",  # it is away, and the new one is not there yet
    "run.made",  # an empty folder
    "metrics.write",  # amid a row
    "metrics.sync",
    "checkpoint.save",  # before orbax
    "checkpoint.saved",  # orbax is done, the hashes are not written
    "checkpoint.prune",  # two are kept; the oldest's hashes are still there
    "checkpoint.aside",  # a damaged one is moved away, its hashes are not
    "checkpoint.remove",  # the run is ok, and its checkpoints are still there
    "resume.truncate",  # before rows after the checkpoint are cut
    "resume.truncated",
    "claim.made",  # a cell's folder without its owner
    "claim.over",  # a dead owner's folder is gone, the new one is not there
)
POINTS = frozenset((*(f"{file}.{step}" for file in FILES for step in STEPS), *OTHERS))
_passed: Counter[str] = Counter()


def point(name: str) -> None:
    """Passes a point.

    Args:
        name: one of `POINTS`.

    Raises:
        OSError: the disk is to refuse here.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    assert name in POINTS, name
    _passed[name] += 1
    where, _, code = wanted.partition("=")
    where, _, count = where.partition("@")
    if name != where or _passed[name] < int(count or 1):
        return
    if code:
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number))
    os.kill(os.getpid(), signal.SIGKILL)
