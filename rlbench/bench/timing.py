"""Timing of variants side by side, so that whatever slows the machine slows all of them."""

import math
import time
from collections.abc import Callable, Mapping


def interleaved(
    variants: Mapping[str, Callable[[], object]],
    rounds: int,
    min_seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Times variants in turn, round after round: A B C A B C ...

    Args:
        variants: by name; each blocks until its result is ready.
        rounds: samples of each.
        min_seconds: a sample is the mean over as many calls as last this long. How many is told by
            a first call, which is no sample.
        clock: seconds.

    Returns:
        Seconds per call: `rounds` samples of each variant; samples of one index are of one round.
    """
    calls = {}
    for name, call in variants.items():
        took = _mean_seconds(call, 1, clock)
        calls[name] = max(1, math.ceil(min_seconds / max(took, 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            samples[name].append(_mean_seconds(call, calls[name], clock))
    return samples


def _mean_seconds(call: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls
