"""Whether an unfinished run can be gone on with, and where: to the same bits as if it had never
been interrupted.
"""

import json
from pathlib import Path
from typing import Any

import jax

from rlbench import store
from rlbench.checkpoint import Checkpoint, Checkpoints, DamagedError
from rlbench.config import NOT_HASHED, RunConfig
from rlbench.errors import RunError, UsageError
from rlbench.prepare import Prepared
from rlbench.seeding import run_streams
from rlbench.state import check_arrays
from rlbench.writer import RunWriter

BITS = (
    ("versions", "jax"),
    ("versions", "jaxlib"),
    ("hardware", "platform"),
    ("hardware", "device_kind"),
    ("jax", "jax_default_prng_impl"),
    ("jax", "jax_threefry_partitionable"),
    ("jax", "jax_enable_x64"),
    ("jax", "jax_default_matmul_precision"),
)
"""Of the provenance: what decides about bits."""
FREE = tuple(name for name in NOT_HASHED if name != "seed")


def check(path: Path, config: RunConfig, provenance: dict[str, Any]) -> None:
    """Refuses to go on with a run that is over, or that would become a mixture.

    Args:
        path: its directory.
        config: what is asked for now.
        provenance: of this process.

    Raises:
        UsageError: says what differs.
    """
    record = store.read_run(path)
    status = record.status.get("status")
    if status in ("ok", "diverged"):
        raise UsageError(f"{path} has ended ({status}); there is nothing to resume")
    old, new = record.config, json.loads(json.dumps(config.to_json()))
    for name in sorted(old.keys() | new.keys()):
        if name not in FREE and old.get(name) != new.get(name):
            raise UsageError(
                f"{path} was begun with {name} {old.get(name)!r}, and this is {new.get(name)!r}; "
                "--overwrite runs it anew"
            )
    for group, name in BITS:
        told = record.provenance.get(group)
        before = told.get(name) if isinstance(told, dict) else None
        now = provenance[group].get(name)
        if before != now:
            raise UsageError(
                f"{path} was begun with {name} {before}, and here it is {now}, which may give "
                "other bits; --overwrite runs it anew"
            )


def check_state(path: Path, found: Checkpoint, prepared: Prepared) -> None:
    """Refuses a checkpoint that this code's agent cannot go on from, before anything is written.

    Args:
        path: the run's.
        found: its checkpoint, as it was written.
        prepared: the run to go on with.

    Raises:
        UsageError: says what of the state is not there, or of another shape or type.
    """
    init, task, seed = prepared.algorithm.init, prepared.task, prepared.config.seed
    try:
        check_arrays(jax.eval_shape(lambda: init(task, run_streams(seed))), found.arrays)
    except UsageError as error:
        raise UsageError(
            f"checkpoint {found.step} of {path} is of another agent or version: {error}; "
            "--overwrite runs it anew"
        ) from None


def reopen(path: Path, found: Checkpoint, provenance: dict[str, Any]) -> RunWriter:
    """The run directory as it was at the checkpoint, to be written on.

    Args:
        path: the run's.
        found: where it goes on.
        provenance: of this process, which is recorded beside the first one's.
    """
    old = store.read_run(path)
    entry = {"updates": found.step, "at": store.now()}
    entry |= {k: provenance[k] for k in ("argv", "commit", "dirty", "versions", "hardware")}
    known = old.provenance.get("resumed_from")
    resumed = [*(known if isinstance(known, list) else []), entry]
    return RunWriter.resume(
        path,
        {**old.provenance, "resumed_from": resumed},
        found.record,
        str(old.status.get("started", "")),
    )


def read(path: Path, step: int, index: int) -> Checkpoint:
    """The checkpoint that process 0 goes on from, in another process of the run.

    Raises:
        RunError: it is not here.
    """
    try:
        return Checkpoints(path).read(step)
    except DamagedError as error:
        raise RunError(
            f"process {index} cannot read checkpoint {step} in {path} ({error}); a run of several "
            "processes is resumed from a disk that all of them see",
            "",
        ) from None
