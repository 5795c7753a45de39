"""Learning curves of runs of unequal length, brought onto one grid. Imports no jax.

Between two evaluations a curve is a straight line; before the first and after the last there is
nothing. Where some runs have ended and others have not, the mean is of those that are left, and
says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlbench.analysis.runs import Curve, Run
from rlbench.analysis.statistics import generator, mean_interval
from rlbench.bounds import is_number

Floats = npt.NDArray[np.float64]
AXES = ("steps", "seconds")
MAX_POINTS = 100
SECONDS_POINTS = 30


@dataclass(frozen=True)
class Band:
    """The mean curve of an entry's runs.

    Attributes:
        x: (points,) env steps or training seconds.
        mean: (points,) over the runs that reach this point.
        low: (points,) end of its 95 % interval; NaN where a single run is left.
        high: (points,) the other end.
        runs: (points,) how many reach it.
    """

    x: Floats
    mean: Floats
    low: Floats
    high: Floats
    runs: npt.NDArray[np.int64]

    @property
    def complete(self) -> int:
        """How many points, from the first on, all runs reach."""
        return int((self.runs == self.runs.max(initial=0)).sum())


def on_grid(curve: Curve, axis: str, grid: Floats) -> Floats:
    """A curve at the grid's points, NaN outside its first and last evaluation.

    Args:
        curve: with at least one evaluation.
        axis: of `AXES`.
        grid: (points,), ascending.
    """
    x = getattr(curve, axis)
    at = np.interp(grid, x, curve.returns)
    return np.where((grid >= x[0]) & (grid <= x[-1]), at, np.nan)


def grid_of(runs: Sequence[Run], axis: str) -> Floats:
    """Points for curves of these runs: the budget's evaluations, or seconds up to the first end."""
    if axis == "seconds":
        # Where the first finished run ends: the others are no sample of all after that.
        done = [run for run in runs if run.state == "ok"] or runs
        last = min(run.curve.seconds[-1] for run in done)
        later = [x for run in runs for x in run.curve.seconds[1:2] if 0 < x < last]
        early = np.geomspace(min(later), last, SECONDS_POINTS) if later else [last]
        ends = [run.curve.seconds[-1] for run in runs if run.curve.seconds[-1] < last]
        # Geometric ones too, for a logarithmic axis.
        return np.unique(
            np.concatenate([np.linspace(0, last, SECONDS_POINTS), early, [last], ends])
        )
    budget = run_budget(runs[0])
    evaluations = runs[0].config.get("evaluations")
    count = min(evaluations, MAX_POINTS) if isinstance(evaluations, int) else 10
    last = budget or max(run.curve.steps[-1] for run in runs)
    return np.linspace(0.0, last, max(count, 1) + 1)


def run_budget(run: Run) -> float | None:
    """The budget in env steps; None if it is in seconds alone."""
    steps = run.config.get("budget_env_steps")
    return float(steps) if is_number(steps) and steps > 0 else None


def band(runs: Sequence[Run], axis: str, name: str) -> Band | None:
    """The mean curve with its pointwise 95 % interval; None without evaluations.

    Args:
        runs: of one entry.
        axis: of `AXES`.
        name: of the entry, which seeds the resamples.
    """
    runs = [run for run in runs if run.curve.returns.size and not np.isnan(run.curve.seconds).any()]
    if not runs:
        return None
    grid = grid_of(runs, axis)
    values = np.stack([on_grid(run.curve, axis, grid) for run in runs])
    counts = (~np.isnan(values)).sum(0)
    grid, values, counts = grid[counts > 0], values[:, counts > 0], counts[counts > 0]
    low, high = np.full((2, len(grid)), np.nan)
    # Runs leave one after the other: one resampling for each set of those that are left.
    left = ~np.isnan(values)
    for members in np.unique(left, axis=1).T:
        at = (left == members[:, None]).all(0)
        ends = mean_interval(values[members][:, at], generator("curve", name, axis))
        if ends is not None:
            low[at], high[at] = ends
    return Band(grid, np.nanmean(values, axis=0), low, high, counts)


def reached(run: Run, target: float) -> tuple[float, float] | None:
    """(env steps, training seconds) of the first evaluation at the target; None without one."""
    at = np.flatnonzero(run.curve.returns >= target)
    if not at.size:
        return None
    return float(run.curve.steps[at[0]]), float(run.curve.seconds[at[0]])
