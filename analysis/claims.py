"""Pairwise claims: is one algorithm better than another, on which tasks, at what cost.

On a task the difference of mean scores has Welch's interval and p-value; over a pair's tasks the
p-values are Holm's. S. Holm, "A simple sequentially rejective multiple test procedure",
Scandinavian Journal of Statistics 6 (1979). Imports no jax.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from rlbench.analysis.statistics import (
    LEVEL,
    Interval,
    generator,
    improvement,
    improvement_interval,
)
from rlbench.analysis.tasks import Comparison, Entry, Task
from rlbench.comparison import interval_of_difference, p_value, sample

FEWEST_SEEDS = 5
BETTER, WORSE, OPEN, FEW = "better", "worse", "not distinguishable", "too few seeds"
SAME_TIME = 1.05
"""A ratio of times below this is not told as one."""
VERDICTS = (BETTER, OPEN, WORSE, FEW)
RULE = (
    "A is better (or worse) than B on a task if Welch's test of equal mean scores, of runs as the "
    f"units, is rejected at {100 * (1 - LEVEL):.0f} % after Holm's correction over the pair's "
    "tasks; otherwise the two are not distinguishable, which does not say they are equal. Below "
    f"{FEWEST_SEEDS} counted seeds on either side there is no verdict. The interval shown is "
    "Welch's 95 % interval of the difference on this task alone. Pairs are not corrected for each "
    "other. Times are compared by medians of training seconds over finished runs, and over tasks "
    "by the geometric mean of their ratios."
)


@dataclass(frozen=True)
class Claim:
    """Two entries on one task.

    Attributes:
        task: its label.
        difference: of mean scores, first minus second, in the environment's returns.
        interval: 95 %, of this task alone; None if either has fewer than two runs.
        p: Welch's p-value; None as above.
        adjusted: Holm's p-value over the pair's tasks with enough seeds; None without a verdict.
        verdict: one of `VERDICTS`, of the first about the second.
        seeds: counted runs of each.
        speedup: training seconds of the second over those of the first, medians; None where they
            cannot be compared.
    """

    task: str
    difference: float
    interval: Interval | None
    p: float | None
    adjusted: float | None
    verdict: str
    seeds: tuple[int, int]
    speedup: float | None


@dataclass(frozen=True)
class Pair:
    """Two entries on all tasks that have both.

    Attributes:
        first: label of the one that the verdicts are about.
        second: label of the other.
        claims: one a task.
        improvement: probability that a run of the first scores higher, mean over tasks.
        improvement_interval: 95 %, stratified; None with a single run somewhere.
    """

    first: str
    second: str
    claims: tuple[Claim, ...]
    improvement: float
    improvement_interval: Interval | None

    def count(self, verdict: str) -> int:
        """On how many tasks."""
        return sum(claim.verdict == verdict for claim in self.claims)

    @property
    def speedup(self) -> float | None:
        """Geometric mean over the tasks whose times can be compared."""
        known = [claim.speedup for claim in self.claims if claim.speedup is not None]
        return math.exp(float(np.mean(np.log(known)))) if known else None


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def training_seconds(entry: Entry) -> list[float]:
    """Of the runs that finished: what a failed run took says nothing about speed."""
    found = [run.total("train_seconds") for run in entry.runs if run.state == "ok"]
    return [seconds for seconds in found if seconds > 0]


def speedup(task: Task, first: str, second: str) -> float | None:
    """How many times less training time the first takes; None where that cannot be said."""
    ours, theirs = (training_seconds(task.entries[label]) for label in (first, second))
    if task.mixed_hardware or not ours or not theirs:
        return None
    return float(np.median(theirs) / np.median(ours))


def judge(task: Task, first: str, second: str) -> Claim:
    """The claim on one task, its verdict left open until all tasks are corrected."""
    a, b = (task.entries[label].scores for label in (first, second))
    seeds, x, y = (len(a), len(b)), sample(a), sample(b)
    return Claim(
        task=task.label,
        difference=x.mean - y.mean,
        interval=interval_of_difference(x, y),
        p=p_value(x, y),
        adjusted=None,
        verdict=FEW if min(seeds) < FEWEST_SEEDS else OPEN,
        seeds=seeds,
        speedup=speedup(task, first, second),
    )


def verdicts(tasks: Sequence[Task], first: str, second: str) -> tuple[Claim, ...]:
    """A claim a task, corrected for their number."""
    claims = [judge(task, first, second) for task in tasks]
    ready = [i for i, claim in enumerate(claims) if claim.verdict != FEW]
    decided = list(claims)
    for i, p in zip(ready, holm([claims[i].p or 0.0 for i in ready]), strict=True):
        verdict = OPEN
        if p <= 1 - LEVEL:
            verdict = BETTER if claims[i].difference > 0 else WORSE
        decided[i] = replace(claims[i], adjusted=p, verdict=verdict)
    return tuple(decided)


def pair(comparison: Comparison, first: str, second: str) -> Pair | None:
    """Both on all tasks where each has a counted run; None if there is none."""
    tasks = [
        task
        for task in comparison.tasks
        if all(label in task.entries and task.entries[label].counted for label in (first, second))
    ]
    if not tasks:
        return None
    a, b = ([np.array(task.entries[label].scores) for task in tasks] for label in (first, second))
    return Pair(
        first,
        second,
        verdicts(tasks, first, second),
        improvement(a, b),
        improvement_interval(a, b, generator("improvement", first, second)),
    )


def pairs(comparison: Comparison, baseline: str = "") -> tuple[Pair, ...]:
    """Every two entries, or every entry against the baseline, where they meet on a task."""
    if baseline:
        chosen = [(label, baseline) for label in comparison.labels if label != baseline]
    else:
        chosen = list(combinations(comparison.labels, 2))
    found = (pair(comparison, first, second) for first, second in chosen)
    return tuple(one for one in found if one is not None)


def in_words(one: Pair) -> str:
    """The pair in a sentence: verdicts, and the ratio of training times."""
    count = len(one.claims)
    told = [f"{verdict} {one.count(verdict)}" for verdict in (BETTER, OPEN, WORSE)]
    if one.count(FEW):
        told.append(f"{one.count(FEW)} with too few seeds for a verdict")
    text = f"{one.first} vs {one.second} on {count} task{'s' * (count != 1)}: {', '.join(told)}"
    if one.speedup is None:
        return text + "; times are not comparable"
    less, factor = ("less", one.speedup) if one.speedup >= 1 else ("more", 1 / one.speedup)
    if factor < SAME_TIME:
        return f"{text}, at the same training time"
    return f"{text}, at {factor:.2g}x {less} training time"
