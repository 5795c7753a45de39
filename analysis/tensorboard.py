"""A run as TensorBoard's event file: a mirror, the run directory stays the source."""

import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from rlbench.analysis.runs import number
from rlbench.errors import UsageError
from rlbench.files import writing
from rlbench.record_shape import COUNTS
from rlbench.store import RunRecord, check_writable, own, read_run

NAME = "events.out.tfevents.rlbench"
"""Ours, as the library's own holds the host's name."""
TOTALS = (*COUNTS, "nonfinite")
CLOCKS = ("train_seconds", "eval_seconds")
MOST_STEPS = 2**63
"""What an event file can hold; more is no count of env steps."""


def scalars(record: RunRecord) -> Iterator[tuple[str, float, int, float]]:
    """(tag, value, env steps, seconds since the start) of every finite number of a run's metrics.

    Tags are `evaluation/...` and `updates/...`; the step is simulated env steps.
    """
    for row in record.rows:
        kind, step = row.get("kind"), number(row.get("simulated_env_steps"))
        clocks = [number(row.get(name)) for name in CLOCKS]
        if kind not in ("evaluation", "updates") or not abs(step) < MOST_STEPS:
            continue
        seconds = sum(x for x in clocks if x == x)
        for name, value in row.items():
            if name not in TOTALS and number(value) == number(value):
                yield f"{kind}/{name}", number(value), int(step), seconds


def _started(status: Mapping[str, Any]) -> float:
    """Seconds since 1970, zero where it is not recorded."""
    try:
        return datetime.fromisoformat(str(status.get("started"))).timestamp()
    except ValueError:
        return 0.0


def export_tensorboard(run: Path, out: Path | None, overwrite: bool) -> str:
    """Writes RUN/tensorboard, or `out`.

    Returns:
        What was written, in a sentence.

    Raises:
        UsageError: it is no run, has no metrics, or an event file is there already.
    """
    folder = out or own(run, "tensorboard")
    file = folder / NAME
    if file.exists() and not overwrite:
        raise UsageError(f"{file} exists; --overwrite replaces it, --out goes elsewhere")
    record = read_run(run)
    found = list(scalars(record))
    if not found:
        raise UsageError(f"{run} holds no metrics yet")
    check_writable(folder, True, "")
    start = _started(record.status)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            writer = SummaryWriter(scratch, flush_secs=3600)
            for tag, value, step, seconds in found:
                writer.add_scalar(tag, value, step, walltime=start + seconds)
            writer.close()
            (made,) = Path(scratch).iterdir()
            made.replace(file)
    return f"{len(found):,} numbers\nwritten to {file}; tensorboard --logdir {folder}"
