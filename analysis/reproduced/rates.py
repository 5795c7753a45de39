"""Exponents of power laws, as slopes on log-log axes, with 95 % intervals. Imports no jax."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from rlbench.analysis.statistics import LEVEL


@dataclass(frozen=True)
class Rate:
    """A slope and its interval at `LEVEL`."""

    slope: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.slope:.3f} [{self.low:.3f}, {self.high:.3f}]"


def rate(x: Sequence[float], y: Sequence[float], errors: Sequence[float] | None = None) -> Rate:
    """The exponent p of y ~ x^p by least squares on log-log axes.

    Without errors, the interval tells how straight the line is: Student's, from the residuals. With
    them, it tells how well y is known: normal, every point weighted by its relative error.

    Args:
        x: positive; at least three.
        y: positive, one an x.
        errors: standard errors of y, one a y.

    Raises:
        ValueError: there are fewer than three points.
    """
    if len(x) < 3:
        raise ValueError(f"a rate needs three points, not {len(x)}")
    log_x, log_y = np.log(x), np.log(y)
    if errors is None:
        fit = stats.linregress(log_x, log_y)
        half = stats.t.ppf((1 + LEVEL) / 2, len(x) - 2) * fit.stderr
        return _around(float(fit.slope), float(half))
    weights = np.asarray(y) / np.asarray(errors)
    coefficients, covariance = np.polyfit(log_x, log_y, 1, w=weights, cov="unscaled")
    half = stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(covariance[0, 0])
    return _around(float(coefficients[0]), float(half))


def _around(slope: float, half: float) -> Rate:
    return Rate(slope, slope - half, slope + half)


def largest_t_allowed(tests: int, batches: int, level: float = 0.01) -> float:
    """What the largest of so many |t| stays below with probability 1 - level, by Bonferroni.

    Args:
        tests: how many means are compared.
        batches: from which each of them and its standard error come.
        level: of all tests together.
    """
    return float(stats.t.isf(level / (2 * tests), batches - 1))


def reference(axes: Any, x: Sequence[float], y: float, exponent: float, text: str) -> None:
    """Draws y (x / x_0)^exponent as a thin grey line, and writes what it is at its end."""
    ends = np.array([x[0], x[-1]], np.float64)
    line = y * (ends / ends[0]) ** exponent
    axes.plot(ends, line, color="0.6", linewidth=0.8, zorder=0)
    at = (ends[1], line[1])
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.annotate(
        text, at, (2, 0), textcoords="offset points", size=6.5, color="0.4", va="center", bbox=box
    )
