"""A run from its start, or from its last checkpoint, to its record."""

import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rlbench import machine, resuming, store
from rlbench.checkpoint import Checkpoint, Checkpoints
from rlbench.errors import RunError, UsageError, WriteError
from rlbench.fitting import memory_told
from rlbench.hosts.team import Alone
from rlbench.loop import Run
from rlbench.memory import room_for
from rlbench.prepare import Prepared
from rlbench.progress import Progress
from rlbench.watchdog import Watchdog, end_as_stalled
from rlbench.writer import NoWriter, RunWriter

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Care:
    """What is done so that a run does no harm and is not lost; no matter of its results.

    Attributes:
        resume: go on with what is in the run directory.
        overwrite: replace it; if it is also to be resumed, only if that cannot be.
        checkpoint_seconds: least time between two checkpoints.
        max_memory: bytes that the process may need; None for what is available here.
    """

    resume: bool = False
    overwrite: bool = False
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    max_memory: int | None = None


def run(
    prepared: Prepared,
    path: Path,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
    team: Alone | None = None,
    care: Care | None = None,
) -> store.RunRecord:
    """Runs what was prepared and records it in `path`.

    Args:
        prepared: from `prepare`.
        path: the run directory, replaced if it exists, unless it is resumed.
        on_progress: called at every change.
        stopped: asked after every update whether to end here.
        team: this process and the others of the run, if there are any.
        care: checkpoints and limits.

    Returns:
        The run directory, read back.

    Raises:
        RunError: an exception ended it, which the run directory's status tells.
        UsageError: the run cannot be resumed; nothing was changed.
    """
    team, care = team or Alone(), care or Care()
    provenance = machine.provenance(prepared.plugins, team.members)
    checkpoints, found, writer = Checkpoints(path), None, None
    if care.resume and path.exists():
        found, writer = _taken_up(path, prepared, provenance, checkpoints, care)
    writer = writer or RunWriter(path, prepared.config, provenance)
    team.share(found.step if found else None)
    drive(Run(prepared, writer, on_progress, stopped, team, checkpoints), found, care)
    return store.read_run(path)


def _taken_up(
    path: Path,
    prepared: Prepared,
    provenance: dict[str, Any],
    checkpoints: Checkpoints,
    care: Care,
) -> tuple[Checkpoint | None, RunWriter | None]:
    """The checkpoint to go on from, and the run directory as it was then; neither to run anew."""
    writer = None
    try:
        resuming.check(path, prepared.config, provenance)
        found, notes = checkpoints.restore()
        if found:
            resuming.check_state(path, found, prepared)
            writer = resuming.reopen(path, found, provenance)
    except UsageError as error:
        if not care.overwrite:
            raise
        found, notes = None, [str(error)]
    if found is None:
        notes.append(f"{path} has no checkpoint to go on from and is run anew")
    for note in notes:
        print(f"rlbench: {note}", file=sys.stderr)
    return found, writer


def take_part(
    prepared: Prepared, path: Path, stopped: Callable[[], bool], team: Alone, care: Care
) -> None:
    """The run in a process that does not record it; for the rest see `run`.

    Raises:
        RunError: the checkpoint that process 0 goes on from cannot be read here.
    """
    step = team.share(None)
    found = None if step is None else resuming.read(path, int(step), team.index)
    drive(Run(prepared, NoWriter(), lambda told: None, stopped, team, None), found, care)


def drive(current: Run, found: Checkpoint | None, care: Care) -> None:
    """The run itself, as every process of it does it."""
    prepared, writer, team = current.prepared, current.writer, current.team
    team.when_ended(writer.status)
    room = room_for(care.max_memory)
    # On an accelerator an idle processor is what one hopes for; another process is waited for idly.
    watched = prepared.config.device == "cpu" and team.count == 1
    try:
        with memory_told(prepared.algorithm):
            current.trace(found)
            # Once by a lower bound: what is far too large is not even compiled.
            for prepare in (lambda: None, current.programs.compile):
                prepare()
                if told := team.share(current.too_large(room)):
                    return current.skip(told)
            current.begin(found, care.checkpoint_seconds)
            team.same({})
            with Watchdog(partial(end_as_stalled, writer.status)) if watched else nullcontext():
                status, reason = current.audited(*current.train())
            team.over()
            current.finish(status, reason)
    except BaseException as error:
        team.explain(error)
        _record_end(writer, error)
        if isinstance(error, WriteError):
            raise RunError(f"{error}; {_what_is_left(writer.path)}", "") from None
        if isinstance(error, RunError) or not isinstance(error, Exception):
            raise
        told = f"{type(error).__name__}: {error}"
        others = ", ".join(map(str, prepared.plugins))
        where = f" (with {others})" if others else ""
        raise RunError(f"the run failed{where}: {told}", traceback.format_exc()) from error


def _record_end(writer: RunWriter, error: BaseException) -> None:
    """As far as the disk takes it; otherwise the status stays `running`, of a process that is gone.

    A disk that refuses is no fault of the run's: it is interrupted, and can be gone on with.
    """
    outside = isinstance(error, KeyboardInterrupt | WriteError)
    told = str(error) if isinstance(error, RunError) else f"{type(error).__name__}: {error}"
    with suppress(WriteError):
        writer.close()
    with suppress(WriteError):
        writer.status("interrupted" if outside else "failed", told)


def _what_is_left(path: Path) -> str:
    if not path.is_dir():
        return "what it had recorded went with it"
    return f"what was recorded before is whole, and `rlbench resume {path}` goes on from there"
