"""Learning curves, and what all figures with a panel a task share. Imports no jax.

Each function returns a figure, or a sentence that says why there is none.
"""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from rlbench.analysis.curves import Band
from rlbench.analysis.findings import Findings
from rlbench.analysis.style import Look, finish, logarithmic, looks, panels, plain
from rlbench.analysis.tasks import Task

MAX_PANELS = 60
AXIS_LABELS = {"steps": "simulated env steps", "seconds": "training seconds"}
THIN = "thin: not all runs get this far"

Drawn = Figure | str


TITLE_WIDTH = 34


def set_title(axes: Any, text: str) -> None:
    """A panel's title: what does not fit into a line goes on in the next, at a comma."""
    env, comma, rest = text.partition(", ")
    if len(text) > TITLE_WIDTH and comma:
        text = f"{env}\n{rest if len(rest) <= TITLE_WIDTH else rest[: TITLE_WIDTH - 1] + '…'}"
    longest = max(map(len, text.split("\n")))
    axes.set_title(plain(text), size=8 if longest <= 26 else 6.6)


def engineering(axis: Any) -> None:
    """Ticks as 500k and 2M, few enough to be read."""
    axis.set_major_formatter(EngFormatter(sep=""))
    axis.set_major_locator(MaxNLocator(4))


def draw_band(axes: Any, one: Band, look: Look, label: str, start: int = 0) -> None:
    """A mean curve with its interval; thin where it is no longer the mean of all runs.

    Args:
        axes: where to.
        one: the curve.
        look: its colour, marker and line.
        label: its name in the legend.
        start: the first point that is drawn: 1 on a logarithmic axis, which has no zero.
    """
    whole = one.complete
    every = max(1, (whole - start) // 6)
    shown = slice(start, None)
    ends = one.x[shown], one.low[shown], one.high[shown]
    axes.fill_between(*ends, color=look.colour, alpha=0.18, linewidth=0)
    axes.plot(
        one.x[start:whole],
        one.mean[start:whole],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markevery=every,
        label=label,
    )
    if whole < len(one.x):
        rest = slice(max(whole - 1, start), None)
        axes.plot(one.x[rest], one.mean[rest], color=look.colour, linewidth=0.5)


def learning_curves(findings: Findings, axis: str) -> Drawn:
    """Mean return against env steps or training seconds, a panel a task."""
    tasks = [
        task
        for task in findings.comparison.tasks
        if any((task.label, label, axis) in findings.bands for label in task.entries)
    ][:MAX_PANELS]
    if axis == "seconds":
        tasks = [task for task in tasks if not task.mixed_hardware]
    if not tasks:
        return "no run has an evaluation" + " on one kind of hardware" * (axis == "seconds")
    figure, all_axes = panels(len(tasks))
    look, thin = looks(findings.comparison.labels), False
    for axes, task in zip(all_axes, tasks, strict=True):
        found = {label: findings.bands.get((task.label, label, axis)) for label in task.entries}
        bands = {label: one for label, one in found.items() if one is not None}
        log = axis == "seconds" and _in_log(list(bands.values()))
        for label, one in bands.items():
            draw_band(axes, one, look[label], label, int(log))
            thin = thin or one.complete < len(one.x)
        _scale_lines(axes, task)
        set_title(axes, task.label)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        _steps_or_seconds(axes, axis, log)
    outer_labels(all_axes, AXIS_LABELS[axis], "return")
    return finish(figure, all_axes, findings.comparison.labels, THIN if thin else "")


def _steps_or_seconds(axes: Any, axis: str, log: bool) -> None:
    if log:
        axes.set_xscale("log")
        logarithmic(axes.xaxis)
        return
    axes.set_xlim(left=0)
    if axis == "steps":
        engineering(axes.xaxis)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))


def _scale_lines(axes: Any, task: Task) -> None:
    """The reference as a dotted line, where it does not squeeze the curves."""
    if task.scale is None:
        return
    low, high = axes.get_ylim()
    if task.scale.reference <= high + 0.6 * (high - low) and task.scale.reference >= low:
        axes.axhline(task.scale.reference, color="0.4", linewidth=0.7, linestyle=":")
        axes.set_ylim(low, max(high, task.scale.reference + 0.03 * (high - low)))


def _in_log(bands: list[Band]) -> bool:
    """Whether times differ so much that they need a logarithmic axis."""
    ends = [float(one.x[-1]) for one in bands]
    return min(ends) > 0 and max(ends) > 10 * min(ends)


def outer_labels(all_axes: list[Any], x: str, y: str) -> None:
    """Labels on the left column and on the lowest panel of each column alone."""
    for axes in all_axes:
        spec = axes.get_subplotspec()
        below = [a for a in all_axes if a.get_subplotspec().colspan == spec.colspan]
        if axes is below[-1]:
            axes.set_xlabel(x)
        if spec.is_first_col():
            axes.set_ylabel(y)
