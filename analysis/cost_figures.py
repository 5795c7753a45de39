"""Figures of what a run costs: time, memory, and return against time. Imports no jax.

Each function returns a figure, or a sentence that says why there is none.
"""

import math
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from rlbench.analysis import claims
from rlbench.analysis.figures import AXIS_LABELS, MAX_PANELS, Drawn, outer_labels, set_title
from rlbench.analysis.findings import Findings
from rlbench.analysis.style import Look, finish, logarithmic, looks, panels
from rlbench.analysis.tasks import Task


def wall_clock(findings: Findings) -> Drawn:
    """Training seconds a run, a panel a task: bars of means with standard deviations, and how much
    faster or slower the first is than each other (the form of the paper's Fig. 15).
    """
    tasks = [
        task
        for task in findings.comparison.tasks
        if not task.mixed_hardware
        and sum(bool(claims.training_seconds(e)) for e in task.entries.values()) > 1
    ][:MAX_PANELS]
    if not tasks:
        return "no task has finished runs of two algorithms on one kind of hardware"
    figure, all_axes = panels(len(tasks), height=1.6)
    look = looks(findings.comparison.labels)
    for axes, task in zip(all_axes, tasks, strict=True):
        _bars(axes, task, look)
        set_title(axes, task.label)
    outer_labels(all_axes, "", "training seconds")
    note = "mean ± standard deviation over runs; ratios of medians to the bar that is marked 1"
    return finish(figure, all_axes, findings.comparison.labels, note)


def _bars(axes: Any, task: Task, look: dict[str, Look]) -> None:
    times = {label: claims.training_seconds(e) for label, e in task.entries.items()}
    times = {label: found for label, found in times.items() if found}
    means = {label: float(np.mean(found)) for label, found in times.items()}
    first, tops = next(iter(times)), {}
    for i, (label, found) in enumerate(times.items()):
        spread = float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
        tops[label] = means[label] + spread
        axes.bar(
            i,
            means[label],
            yerr=spread or None,
            color=look[label].colour,
            hatch=look[label].hatch,
            edgecolor="white",
            linewidth=0,
            ecolor="0.25",
            error_kw={"linewidth": 0.8, "capsize": 2},
            label=label,
        )
    log = max(means.values()) > 20 * min(means.values())
    if log:
        axes.set_yscale("log")
        axes.set_ylim(min(means.values()) / 3, max(tops.values()) * 6)
        logarithmic(axes.yaxis)
    else:
        axes.set_ylim(0, max(tops.values()) * 1.28)
    for i, label in enumerate(times):
        text = (
            "1"
            if label == first
            else ratio(float(np.median(times[label]) / np.median(times[first])))
        )
        at = (i, tops[label])
        axes.annotate(text, at, (0, 2), textcoords="offset points", ha="center", size=7)
    axes.set_xticks([])
    axes.grid(axis="x", visible=False)


def ratio(value: float) -> str:
    """A factor, as 2.4x."""
    return f"{value:.2f}x" if value < 1 else f"{value:.1f}x" if value < 10 else f"{value:,.0f}x"


def return_cost(findings: Findings) -> Drawn:
    """Final return against training seconds, a panel a task: what is up and left is better."""
    tasks = [task for task in findings.comparison.tasks if not task.mixed_hardware][:MAX_PANELS]
    tasks = [
        task
        for task in tasks
        if any(findings.summaries[task.label, label].train > 0 for label in task.entries)
    ]
    if not tasks:
        return "no task has finished runs on one kind of hardware"
    figure, all_axes = panels(len(tasks))
    look = looks(findings.comparison.labels)
    for axes, task in zip(all_axes, tasks, strict=True):
        best = []
        for label in task.entries:
            one = findings.summaries[task.label, label]
            if not one.train > 0 or math.isnan(one.mean):
                continue
            best.append((one.train, one.mean))
            low, high = one.interval or (one.mean, one.mean)
            axes.errorbar(
                one.train,
                one.mean,
                yerr=[[one.mean - low], [high - one.mean]],
                color=look[label].colour,
                marker=look[label].marker,
                markersize=5,
                linewidth=0,
                elinewidth=1,
                capsize=2,
                label=label,
            )
        _front(axes, best)
        axes.set_xscale("log")
        axes.margins(x=0.2, y=0.12)
        logarithmic(axes.xaxis)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        set_title(axes, task.label)
    outer_labels(all_axes, AXIS_LABELS["seconds"], "final return")
    note = "mean with its 95 % interval; stairs: what no other beats in both"
    return finish(figure, all_axes, findings.comparison.labels, note)


def _front(axes: Any, points: list[tuple[float, float]]) -> None:
    """The Pareto front as stairs."""
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    if len(front) > 1:
        x, y = zip(*front, strict=True)
        axes.step(x, y, where="post", color="0.6", linewidth=0.8, zorder=0)


Points = dict[int, float]


def _memory_lines(findings: Findings) -> dict[str, dict[str, Points]]:
    """Buffers in MiB by task, algorithm and population, where an algorithm has two of them."""
    lines: dict[str, dict[str, Points]] = {}
    for task in findings.comparison.tasks:
        by_algo: dict[str, Points] = {}
        for label, entry in task.entries.items():
            first = entry.runs[0]
            population = first.config.get("settings", {}).get("pop_size")
            used = findings.summaries[task.label, label].memory["update_buffer_bytes"]
            if isinstance(population, int) and used > 0:
                by_algo.setdefault(first.algo, {})[population] = used / 2**20
        if any(len(points) > 1 for points in by_algo.values()):
            lines[task.label] = by_algo
    return lines


def memory_population(findings: Findings) -> Drawn:
    """Buffers of the compiled update against population, a panel a task, a line an algorithm."""
    lines = _memory_lines(findings)
    if not lines:
        return "no algorithm was run with two population sizes on one task"
    figure, all_axes = panels(len(lines))
    algos = sorted({algo for by_algo in lines.values() for algo in by_algo})
    look = looks(algos)
    for axes, (name, by_algo) in zip(all_axes, lines.items(), strict=True):
        for algo, points in by_algo.items():
            x, y = zip(*sorted(points.items()), strict=True)
            axes.plot(
                x, y, color=look[algo].colour, marker=look[algo].marker, linestyle=look[algo].line,
                label=algo,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_yscale("log")
        logarithmic(axes.yaxis)
        set_title(axes, name)
    outer_labels(all_axes, "population", "update's buffers, MiB")
    return finish(figure, all_axes, algos)
