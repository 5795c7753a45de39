"""Figures over all tasks, of normalised scores: aggregates, their curves, performance profiles and
probabilities of improvement. Imports no jax.

Each function returns a figure, or a sentence that says why there is none.
"""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlbench.analysis.cost_figures import memory_population, return_cost, wall_clock
from rlbench.analysis.curves import Floats, on_grid, run_budget
from rlbench.analysis.figures import Drawn, learning_curves
from rlbench.analysis.findings import Findings, Suite
from rlbench.analysis.statistics import (
    AGGREGATES,
    aggregate,
    aggregate_interval,
    generator,
    profile,
    profile_interval,
)
from rlbench.analysis.style import COLUMN, PAGE, ROW, finish, looks, panels, plain

CURVE_POINTS = 11
PROFILE_POINTS = 121
MAX_PAIRS = 40
COLUMN_LETTERS = 26
"""Of a pair's name: longer ones need the width of a page."""


def aggregates(findings: Findings) -> Drawn:
    """IQM, median, mean and optimality gap with their intervals."""
    suite = findings.suite
    if not suite.labels:
        return suite.why
    height = 0.45 + 1.3 * ROW * len(suite.labels)
    figure = Figure(figsize=(PAGE, height + 0.35))
    all_axes = figure.subplots(1, len(AGGREGATES), sharey=True)
    look = looks(findings.comparison.labels)
    for axes, name in zip(all_axes, AGGREGATES, strict=True):
        for i, label in enumerate(suite.labels):
            value, interval = findings.aggregates[label, name]
            low, high = interval or (value, value)
            axes.plot(
                [low, high],
                [i, i],
                color=look[label].colour,
                linewidth=5,
                alpha=0.35,
                solid_capstyle="butt",
            )
            axes.plot(value, i, color=look[label].colour, marker=look[label].marker, markersize=5)
        axes.set_title(name + (" (low is good)" if name == "optimality gap" else ""))
        axes.set_yticks(range(len(suite.labels)), map(plain, suite.labels))
        axes.set_ylim(len(suite.labels) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
    note = f"normalised scores of {len(suite.tasks)} tasks, 95 % stratified bootstrap intervals"
    return finish(figure, all_axes.tolist(), (), note)


def _at_shares(suite: Suite, label: str, shares: Floats) -> list[Floats] | None:
    """Normalised returns at shares of the budget, (runs, shares) a task; None if a budget is not in
    env steps.
    """
    found = []
    for task in suite.tasks:
        assert task.scale is not None
        rows = []
        for run in task.entries[label].counted:
            budget = run_budget(run)
            if budget is None or not run.curve.returns.size:
                return None
            rows.append(on_grid(run.curve, "steps", shares * budget))
        found.append(
            (np.stack(rows) - task.scale.random) / (task.scale.reference - task.scale.random)
        )
    return found


def iqm_curves(findings: Findings) -> Drawn:
    """IQM against the share of the budget."""
    suite = findings.suite
    if not suite.labels:
        return suite.why
    shares = np.linspace(0, 1, CURVE_POINTS)
    look, drawn = looks(findings.comparison.labels), []
    figure, (axes,) = panels(1, height=2.1)
    for label in suite.labels:
        tasks = _at_shares(suite, label, shares)
        # Nothing is extrapolated: where a run has ended, there is no aggregate over all runs.
        there = [] if tasks is None else [i for i in range(len(shares)) if _all_there(tasks, i)]
        if tasks is None or len(there) < 2:
            continue
        drawn.append(label)
        values, lows, highs = [], [], []
        for i in there:
            scores = [task[:, i] for task in tasks]
            values.append(aggregate("IQM", scores))
            ends = aggregate_interval("IQM", scores, generator("IQM curve", label, str(i)))
            lows.append(ends[0] if ends else np.nan)
            highs.append(ends[1] if ends else np.nan)
        x = 100 * shares[there]
        axes.fill_between(x, lows, highs, color=look[label].colour, alpha=0.18, linewidth=0)
        axes.plot(
            x, values, color=look[label].colour, marker=look[label].marker,
            linestyle=look[label].line, label=label,
        )  # fmt: skip
    if not drawn:
        return "no algorithm has all its runs on a budget in env steps"
    axes.set(
        xlabel="% of the budget in env steps", ylabel="IQM of normalised return", xlim=(-2, 102)
    )
    return finish(figure, [axes], findings.comparison.labels)


def _all_there(tasks: Sequence[Floats], i: int) -> bool:
    return all(not np.isnan(task[:, i]).any() for task in tasks)


def profiles(findings: Findings) -> Drawn:
    """Share of runs above a normalised score."""
    suite = findings.suite
    if not suite.labels:
        return suite.why
    scores = {label: suite.scores(label) for label in suite.labels}
    ends = np.concatenate([task for tasks in scores.values() for task in tasks])
    low, high = float(min(ends.min(), 0.0)), float(max(ends.max(), 1.0))
    thresholds = np.linspace(max(low, -0.5), min(high, 2.0) * 1.02, PROFILE_POINTS)
    look = looks(findings.comparison.labels)
    figure, (axes,) = panels(1, height=2.1)
    for label, tasks in scores.items():
        band = profile_interval(tasks, thresholds, generator("profile", label))
        if band is not None:
            axes.fill_between(thresholds, *band, color=look[label].colour, alpha=0.18, linewidth=0)
        axes.plot(
            thresholds, profile(tasks, thresholds), color=look[label].colour, label=label,
            linestyle=look[label].line, marker=look[label].marker, markevery=PROFILE_POINTS // 6,
        )  # fmt: skip
    axes.set(xlabel="normalised score τ", ylabel="share of runs above τ", ylim=(-0.03, 1.03))
    axes.set_xlim(thresholds[0], thresholds[-1])
    return finish(figure, [axes], findings.comparison.labels)


def improvements(findings: Findings) -> Drawn:
    """Probability that a run of A scores higher than one of B, a line a pair."""
    if not findings.pairs:
        return "no two algorithms have runs on the same task"
    pairs = findings.pairs[:MAX_PAIRS]
    names = [f"{pair.first} > {pair.second}" for pair in pairs]
    look = looks(findings.comparison.labels)
    width = COLUMN if max(map(len, names)) <= COLUMN_LETTERS else PAGE
    figure = Figure(figsize=(width, 0.75 + 1.5 * ROW * len(pairs)))
    axes = figure.subplots()
    for i, pair in enumerate(pairs):
        low, high = pair.improvement_interval or (pair.improvement,) * 2
        colour = look[pair.first].colour
        axes.plot([low, high], [i, i], color=colour, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot(pair.improvement, i, color=colour, marker=look[pair.first].marker, markersize=5)
    axes.axvline(0.5, color="0.4", linewidth=0.7, linestyle=":")
    axes.set_yticks(range(len(pairs)), map(plain, names))
    axes.set(xlabel="probability of improvement", xlim=(-0.02, 1.02))
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    more = len(findings.pairs) - len(pairs)
    return finish(figure, [axes], (), f"{more} more pairs are in the table" if more else "")


FIGURES: dict[str, Callable[[Findings], Drawn]] = {
    "curves_steps": lambda findings: learning_curves(findings, "steps"),
    "curves_seconds": lambda findings: learning_curves(findings, "seconds"),
    "wall_clock": wall_clock,
    "return_cost": return_cost,
    "memory_population": memory_population,
    "aggregates": aggregates,
    "iqm_curves": iqm_curves,
    "profiles": profiles,
    "improvement": improvements,
}
