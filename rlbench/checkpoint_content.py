"""What the seal of a checkpoint must hold. Its hash tells that it is what somebody wrote, and not
that it was this harness. Imports no jax.
"""

import math
from typing import Any

from rlbench.bounds import LARGEST, is_number
from rlbench.record_shape import COUNTS


def check(content: Any, step: int) -> None:
    """Refuses what the loop could not go on from.

    Args:
        content: of the seal, as read.
        step: updates that it is to be of.

    Raises:
        ValueError: says what it lacks.
    """
    hashes = content["arrays"], content["files"]
    _unless(all(isinstance(table, dict) for table in (*hashes, content["empty"])), "its hashes")
    for dtype, shape in content["empty"].values():
        _unless(isinstance(dtype, str) and 0 in shape and all(map(_count, shape)), "its shapes")
    record = content["record"]
    counts, clocks = record["counts"], record["clocks"]
    _unless(counts.keys() == set(COUNTS) and all(map(_count, counts.values())), "its counts")
    _unless(counts["updates"] == content["step"] == step, "its number of updates")
    _unless(all(map(_seconds, (*clocks.values(), record["written"]))), "its clocks")
    _unless(_count(record["due"]) and _count(record["metrics_bytes"]), "where its record was")
    last = record["last_return"]
    _unless(last is None or (is_number(last) and math.isfinite(last)), "its last return")


def _unless(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{what} cannot be")


def _count(value: Any) -> bool:
    return isinstance(value, int) and _seconds(value)


def _seconds(value: Any) -> bool:
    return is_number(value) and 0 <= value <= LARGEST
