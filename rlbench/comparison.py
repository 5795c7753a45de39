"""Two means of independent episodes or runs, and whether they could be one. Imports no jax.

Welch's interval for a difference of means: B. L. Welch, "The generalization of 'Student's' problem
when several different population variances are involved", Biometrika 34 (1947).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.95
ROUNDING = 1e-5
"""Of a return that one side added up in float32 over a thousand steps, relative to it: it shows
where episodes have no spread."""


@dataclass(frozen=True)
class Sample:
    """Returns of independent episodes, in short.

    Attributes:
        mean: over episodes.
        std: over episodes, divided by their number, as run directories hold it.
        n: episodes.
    """

    mean: float
    std: float
    n: int

    @property
    def squared_error(self) -> float:
        """Of the mean: the unbiased variance over n; NaN for a single episode."""
        return self.std**2 / (self.n - 1) if self.n > 1 else math.nan


Interval = tuple[float, float]


def sample(returns: Sequence[float]) -> Sample:
    """Of every episode's return."""
    return Sample(float(np.mean(returns)), float(np.std(returns)), len(returns))


def interval_of_mean(x: Sample) -> Interval | None:
    """Student's 95 % interval; None for a single episode."""
    return _around(x.mean, x.squared_error, x.n - 1)


def _freedom(a: Sample, b: Sample) -> float:
    """Welch's degrees of freedom; NaN if neither has spread."""
    va, vb = a.squared_error, b.squared_error
    if not va + vb > 0:
        return math.nan
    # Of shares, not of squares, which would underflow where a spread is tiny.
    share = va / (va + vb)
    return 1.0 / (share**2 / (a.n - 1) + (1.0 - share) ** 2 / (b.n - 1))


def interval_of_difference(a: Sample, b: Sample) -> Interval | None:
    """Welch's 95 % interval of mean(a) - mean(b); None if either is a single episode."""
    return _around(a.mean - b.mean, a.squared_error + b.squared_error, _freedom(a, b))


def p_value(a: Sample, b: Sample) -> float | None:
    """Of Welch's two-sided test of equal means; None if either is a single episode."""
    difference, squared_error = a.mean - b.mean, a.squared_error + b.squared_error
    if math.isnan(squared_error):
        return None
    if squared_error == 0:  # neither has spread: they are equal or they are not
        return 1.0 if difference == 0 else 0.0
    return float(2 * stdtr(_freedom(a, b), -abs(difference) / math.sqrt(squared_error)))


def _around(middle: float, squared_error: float, freedom: float) -> Interval | None:
    if math.isnan(squared_error):
        return None
    if squared_error == 0:  # every episode scored the same
        return middle, middle
    half = float(stdtrit(freedom, 0.5 + LEVEL / 2)) * math.sqrt(squared_error)
    return middle - half, middle + half


def agree(a: Sample, b: Sample) -> bool | None:
    """Whether the interval of the difference holds zero, but for rounding; None without interval.

    Two policies that score the same on average disagree by this in one comparison of twenty.
    """
    interval = interval_of_difference(a, b)
    if interval is None:
        return None
    slack = ROUNDING * max(abs(a.mean), abs(b.mean))
    return interval[0] - slack <= 0.0 <= interval[1] + slack
