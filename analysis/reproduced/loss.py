"""Whether one entry loses against another, on several tasks: the rule that claims about returns
share. Imports no jax.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlbench.analysis.claims import FEWEST_SEEDS, holm
from rlbench.analysis.reproduced.claim import AGREE, DIFFER, UNTESTED
from rlbench.analysis.scores import Scale
from rlbench.analysis.statistics import LEVEL, generator, resampled_weights
from rlbench.analysis.tasks import Entry, Task
from rlbench.comparison import interval_of_difference, p_value, sample

MARGIN = 0.1
"""Of the normalised score (0 is random actions, 1 the reference): a loss that matters."""
RULE = (
    f"differ if Welch's test finds a loss somewhere at {100 * (1 - LEVEL):.0f} % after Holm's "
    f"correction; agree if it finds none and every 95 % interval excludes a loss of {MARGIN} of "
    "the normalised score (0 is random actions, 1 the reference) or more; otherwise the runs do "
    f"not decide; no verdict below {FEWEST_SEEDS} seeds"
)


@dataclass(frozen=True)
class Change:
    """Mean normalised score of one entry minus another's.

    Attributes:
        name: of what is compared, such as the environment.
        mean: of the difference.
        low: of Welch's 95 % interval.
        high: likewise.
        p: Welch's, and with Holm's correction once all are known.
        seeds: the fewer of both.
    """

    name: str
    mean: float
    low: float
    high: float
    p: float
    seeds: int

    @property
    def told(self) -> str:
        """In figures."""
        return f"{self.name} {self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def change(name: str, scale: Scale | None, first: Entry, second: Entry) -> Change | None:
    """First minus second; None if either has fewer than two runs, or there is no scale."""
    if scale is None or min(len(first.scores), len(second.scores)) < 2:
        return None
    a, b = (sample([scale.normalise(x) for x in entry.scores]) for entry in (first, second))
    ends, p = interval_of_difference(a, b), p_value(a, b)
    if ends is None or p is None:
        return None
    return Change(name, a.mean - b.mean, *ends, p, min(a.n, b.n))


def corrected(changes: Sequence[Change]) -> list[Change]:
    """With Holm's p-values over all of them."""
    found = holm([one.p for one in changes])
    return [replace(one, p=p) for one, p in zip(changes, found, strict=True)]


def verdict(changes: Sequence[Change]) -> str:
    """By `RULE`: whether the first loses nowhere."""
    if not changes or min(one.seeds for one in changes) < FEWEST_SEEDS:
        return UNTESTED
    if any(one.p <= 1 - LEVEL and one.mean < 0 for one in corrected(changes)):
        return DIFFER
    return AGREE if all(one.low > -MARGIN for one in changes) else UNTESTED


def mean_change(
    tasks: Sequence[Task], first: str, second: str
) -> tuple[float, float, float] | None:
    """Difference of normalised scores averaged over tasks, with its 95 % stratified bootstrap
    interval; None if a task lacks a scale or has fewer than two runs of either.
    """
    total, mean = np.zeros(1), 0.0
    for task in tasks:
        scale = task.scale
        if scale is None:
            return None
        sides = [
            np.array([scale.normalise(x) for x in task.entries[label].scores])
            for label in (first, second)
        ]
        if min(map(len, sides)) < 2:
            return None
        for label, side, sign in zip((first, second), sides, (1, -1), strict=True):
            rng = generator("mean change", task.label, label)
            total = total + sign * (resampled_weights(len(side), rng) @ side) / len(tasks)
            mean += sign * float(side.mean()) / len(tasks)
    if not tasks:
        return None
    low, high = np.quantile(total, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return mean, float(low), float(high)
