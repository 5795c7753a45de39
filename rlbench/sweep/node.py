"""A Ray task, on the machine where it runs: one cell in a folder of its own. Imports neither jax
nor Ray.

The folder is below the cell's claim where the sweep's disk is seen from here, else a temporary one.
Its name is made here: a task that Ray runs again, as its machine was lost, never meets the files of
the one before, which may live on where it cannot be reached.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from rlbench.sweep import cores, parcel
from rlbench.sweep.claims import held
from rlbench.sweep.workers import GPU_SHARE, TAIL

ATTEMPT = "attempt-"
POLL_SECONDS = 0.2
"""Between two looks at whether a task was told to stop."""


class Ended(TypedDict):
    """What a task returns.

    Attributes:
        said: the end of stderr.
        folder: the attempt's, within the claim; empty without a common disk.
        files: the run directory without one, by name.
    """

    said: str
    folder: str
    files: dict[str, bytes]


def run_cell(claim: str, token: str, run: str, here: str, flags: Sequence[str]) -> Ended:
    """Runs a cell once.

    Args:
        claim: the cell's folder, OUT/SUITE/.sweep/ID, absolute, as the sweep sees it.
        token: the claim's, by which its folder is known from another of the same name.
        run: the run directory, below the folder in which the run is started.
        here: where the sweep was started; modules of the user's may be there.
        flags: what follows `python -m rlbench.run`, with an --out that is no absolute path.

    Raises:
        OSError: the disk refuses.
        UsageError: what was written cannot be sent back.
    """
    if held(Path(claim), token):
        folder = Path(claim) / f"{ATTEMPT}{uuid.uuid4().hex}"
        folder.mkdir()
        return {"said": _run(folder, here, flags), "folder": folder.name, "files": {}}
    with tempfile.TemporaryDirectory(prefix="rlbench-") as name:
        said = _run(Path(name), here, flags)
        return {"said": said, "folder": "", "files": parcel.pack(Path(name) / run)}


def _run(folder: Path, here: str, flags: Sequence[str]) -> str:
    """The process, on a core of its own; returns the end of what it said on stderr."""
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH", ""))))
    memory = {"XLA_PYTHON_CLIENT_MEM_FRACTION": str(GPU_SHARE)}
    with cores.free_core() as core, _told_to_stop() as told:
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", "rlbench.sweep.child"),
                *(str(os.getpid()), ",".join(map(str, core)), *flags),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=folder,
            env={**memory, **os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        while True:
            try:
                return child.communicate(timeout=POLL_SECONDS)[1][-TAIL:].strip()
            except subprocess.TimeoutExpired:
                if told.is_set():
                    told.clear()
                    child.terminate()


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Set when the sweep cancels the task, which Ray tells its main thread by SIGINT's handler.

    Without one it tells nothing: a cluster that a script has started with `&` ignores SIGINT.
    """
    told = threading.Event()
    before = signal.signal(signal.SIGINT, lambda number, frame: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGINT, before)
