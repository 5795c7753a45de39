"""Intervals and aggregates over runs. Imports no jax.

Scores are given as one array a task, (runs,), which may differ in length. Resampling draws a task's
runs anew, each task for itself (stratified), from a generator that the caller seeds.

R. Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS
2021 (interquartile mean, optimality gap, performance profiles, probability of improvement); T.
Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69 (2015)
(the expanded percentile interval).
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.stats

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 20261125
"""Root of every generator of a report."""

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]
Scores = Sequence[Floats]


def generator(*names: str) -> np.random.Generator:
    """A generator of this use alone, so that no figure depends on what was computed before it."""
    words = np.frombuffer(hashlib.sha256("\0".join(names).encode()).digest(), np.uint32)
    return np.random.default_rng([SEED, *words.tolist()])


def resampled_weights(n: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
    """How often each of n runs is drawn in a resample, divided by n: (resamples, n).

    The mean of a resample is the product of its row with the runs, whatever was measured of them.
    """
    counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.asarray(counts / n, np.float64)


def expanded_level(n: int) -> float:
    """The level at which percentiles of resampled means cover 95 % of means of n normal runs.

    Plain percentiles are too narrow by sqrt((n - 1) / n) and by taking the normal distribution's
    quantile for Student's; at n = 10 they cover 90 %.
    """
    t = scipy.stats.t.ppf((1 + LEVEL) / 2, n - 1)
    return float(1 - 2 * scipy.stats.norm.sf(t * math.sqrt(n / (n - 1))))


def mean_interval(values: Floats, rng: np.random.Generator) -> tuple[Floats, Floats] | None:
    """Bootstrap interval of the mean over runs, by expanded percentiles.

    Args:
        values: (runs, ...).
        rng: of the resamples.

    Returns:
        Lower and upper ends, each (...); None for a single run.
    """
    n = values.shape[0]
    if n < 2:
        return None
    flat = values.reshape(n, -1)
    means = resampled_weights(n, rng) @ flat
    tail = (1 - expanded_level(n)) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    # A resample's mean lies between the extremes; rounding may put it a last digit beyond.
    low, high = np.maximum(low, flat.min(0)), np.minimum(high, flat.max(0))
    return low.reshape(values.shape[1:]), high.reshape(values.shape[1:])


def iqm(scores: Floats, axis: int = -1) -> Any:
    """Interquartile mean: the mean of the middle half."""
    return scipy.stats.trim_mean(scores, 0.25, axis=axis)


def _all_runs(statistic: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *tasks, axis=-1: statistic(np.concatenate(tasks, axis=axis), axis=axis)


def _over_tasks(statistic: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *tasks, axis=-1: statistic(
        np.stack([task.mean(axis=axis) for task in tasks], axis=-1), axis=-1
    )


def optimality_gap(scores: Floats, axis: int = -1) -> Any:
    """How far runs fall short of a normalised score of 1, on average; none gains above it."""
    return 1.0 - np.minimum(scores, 1.0).mean(axis=axis)


AGGREGATES: dict[str, Callable[..., Any]] = {
    "IQM": _all_runs(iqm),
    "median": _over_tasks(np.median),
    "mean": _over_tasks(np.mean),
    "optimality gap": _all_runs(optimality_gap),
}
"""Of normalised scores, each called with one array a task; as rliable defines them."""


def aggregate(name: str, scores: Scores) -> float:
    """An aggregate of normalised scores, one array (runs,) a task."""
    return float(AGGREGATES[name](*scores))


def aggregate_interval(name: str, scores: Scores, rng: np.random.Generator) -> Interval | None:
    """Its 95 % stratified percentile bootstrap interval; None if a task has a single run."""
    if any(len(task) < 2 for task in scores):
        return None
    if all(np.ptp(task) == 0 for task in scores):  # nothing to resample
        value = aggregate(name, scores)
        return value, value
    found = scipy.stats.bootstrap(
        tuple(scores),
        AGGREGATES[name],
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=2_000,
        confidence_level=LEVEL,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return float(found.low), float(found.high)


def _percentiles(resamples: Floats) -> tuple[Floats, Floats]:
    low, high = np.quantile(resamples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def profile(scores: Scores, thresholds: Floats) -> Floats:
    """Performance profile: the share of runs above each threshold, averaged over tasks: (T,)."""
    shares = [(task[:, None] > thresholds).mean(0) for task in scores]
    return np.asarray(np.mean(shares, axis=0), np.float64)


def profile_interval(
    scores: Scores, thresholds: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats] | None:
    """Its pointwise 95 % stratified bootstrap interval; None if a task has a single run."""
    if any(len(task) < 2 for task in scores):
        return None
    total = np.zeros((RESAMPLES, len(thresholds)))
    for task in scores:
        total += resampled_weights(len(task), rng) @ (task[:, None] > thresholds)
    return _percentiles(total / len(scores))


def _wins(a: Floats, b: Floats) -> Floats:
    """(runs of a, runs of b): 1 where a is higher, 1/2 where they are equal."""
    higher, equal = a[:, None] > b, a[:, None] == b
    return np.asarray(higher + 0.5 * equal, np.float64)


def improvement(a: Scores, b: Scores) -> float:
    """Probability that a run of `a` scores higher than one of `b`, averaged over tasks.

    On a task it is Mann and Whitney's U over its largest value.
    """
    return float(np.mean([_wins(x, y).mean() for x, y in zip(a, b, strict=True)]))


def improvement_interval(a: Scores, b: Scores, rng: np.random.Generator) -> Interval | None:
    """Its 95 % stratified bootstrap interval; None if a task has a single run."""
    if any(len(task) < 2 for task in (*a, *b)):
        return None
    total = np.zeros(RESAMPLES)
    for x, y in zip(a, b, strict=True):
        ours, theirs = resampled_weights(len(x), rng), resampled_weights(len(y), rng)
        total += np.einsum("rn,nm,rm->r", ours, _wins(x, y), theirs, optimize=True)
    low, high = _percentiles(total / len(a))
    return float(low), float(high)
