"""Everything that a report says, computed once: tables, figures and the page only show it. Imports
no jax.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlbench import registry
from rlbench.analysis import claims
from rlbench.analysis.curves import AXES, Band, Floats, band, reached
from rlbench.analysis.runs import Found, Run
from rlbench.analysis.statistics import (
    AGGREGATES,
    Interval,
    aggregate,
    aggregate_interval,
    generator,
    mean_interval,
)
from rlbench.analysis.tasks import Comparison, Entry, Task, compare
from rlbench.errors import UsageError, nearest

TARGET_SHARE = 0.9
"""The default target's normalised score."""
MEMORY = {
    "update_buffer_bytes": "update's buffers (XLA)",
    "device_peak_bytes": "device peak (backend)",
    "peak_rss_bytes": "process peak (OS)",
    "rss_after_compile_bytes": "after compiling (OS)",
}


@dataclass(frozen=True)
class Reached:
    """How soon a target was reached.

    Attributes:
        target: a return.
        count: counted runs that reached it at an evaluation.
        steps: median env steps; infinite if half of the runs or more did not reach it.
        seconds: median training seconds, likewise.
    """

    target: float
    count: int
    steps: float
    seconds: float


@dataclass(frozen=True)
class Summary:
    """One entry on one task. Times, memory and steps are medians over finished runs, NaN without.

    Attributes:
        n: counted runs.
        mean: score, in the environment's returns; NaN without a counted run.
        interval: 95 %, bootstrap; None below two runs.
        normalised: mean score on the task's scale; NaN where there is none.
        train, compile, eval, setup: seconds; `compile` of update and evaluation.
        rate: simulated env steps a training second.
        simulated, live: env steps.
        memory: bytes, by the names in status.json.
        reached: the target; None where the task has none.
    """

    n: int
    mean: float
    interval: Interval | None
    normalised: float
    train: float
    compile: float
    eval: float
    setup: float
    rate: float
    simulated: float
    live: float
    memory: Mapping[str, float]
    reached: Reached | None


@dataclass(frozen=True)
class Suite:
    """Tasks whose normalised scores are averaged.

    Attributes:
        tasks: those with a scale.
        labels: entries with counted runs on each of them.
        why: what is missing if it is empty, and what was left out.
    """

    tasks: tuple[Task, ...]
    labels: tuple[str, ...]
    why: str

    def scores(self, label: str) -> list[Floats]:
        """Normalised, one array (runs,) a task."""
        return [
            np.array([task.scale.normalise(x) for x in task.entries[label].scores])
            for task in self.tasks
            if task.scale
        ]


@dataclass(frozen=True)
class Findings:
    """All of it.

    Attributes:
        found: the runs, and what could not be read.
        comparison: the runs as tasks and entries.
        summaries: by (task, label).
        bands: mean curves by (task, label, axis).
        pairs: pairwise claims.
        suite: what is averaged over tasks.
        aggregates: (value, interval) by (label, name of the aggregate).
    """

    found: Found
    comparison: Comparison
    summaries: Mapping[tuple[str, str], Summary]
    bands: Mapping[tuple[str, str, str], Band]
    pairs: tuple[claims.Pair, ...]
    suite: Suite
    aggregates: Mapping[tuple[str, str], tuple[float, Interval | None]]


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def target_of(task: Task, targets: Mapping[str, float]) -> float | None:
    """The return to reach: what was asked for, or `TARGET_SHARE` of the scale."""
    if task.env in targets:
        return targets[task.env]
    return task.scale.at(TARGET_SHARE) if task.scale else None


def time_to_target(runs: Sequence[Run], target: float) -> Reached:
    """Over runs; one that never reaches the target counts as infinitely long."""
    found = [reached(run, target) for run in runs]
    known = [x for x in found if x is not None]
    endless = [(math.inf, math.inf)] * (len(found) - len(known))
    # The upper middle of an even number, so that no mean of a number and infinity is asked for.
    middle = [sorted(column)[len(found) // 2] for column in zip(*known, *endless, strict=True)]
    return Reached(target, len(known), *middle)


def summarise(task: Task, entry: Entry, targets: Mapping[str, float]) -> Summary:
    """One entry on one task."""
    scores = np.array(entry.scores)
    ends = (
        mean_interval(scores, generator("mean", task.label, entry.label)) if scores.size else None
    )
    mean = float(scores.mean()) if scores.size else math.nan
    done = [run for run in entry.runs if run.state == "ok"]

    def median(*names: str) -> float:
        return _median([sum(run.total(name) for name in names) for run in done])

    rates = [
        run.total("simulated_env_steps") / run.total("train_seconds")
        for run in done
        if run.total("train_seconds") > 0
    ]
    target = target_of(task, targets)
    return Summary(
        n=len(scores),
        mean=mean,
        interval=None if ends is None else (float(ends[0]), float(ends[1])),
        normalised=task.scale.normalise(mean) if task.scale else math.nan,
        train=median("train_seconds"),
        compile=median("compile_seconds", "eval_compile_seconds"),
        eval=median("eval_seconds"),
        setup=median("setup_seconds"),
        rate=_median(rates),
        simulated=median("simulated_env_steps"),
        live=median("live_env_steps"),
        memory={name: _median([run.memory(name) for run in done]) for name in MEMORY},
        reached=None
        if target is None or not entry.counted
        else time_to_target(entry.counted, target),
    )


def make_suite(comparison: Comparison) -> Suite:
    """The tasks with a scale, and the entries that are on all of them."""
    scaled = tuple(task for task in comparison.tasks if task.scale)
    if not scaled:
        return Suite((), (), "no environment here has a reference score")
    labels = tuple(
        label
        for label in comparison.labels
        if all(label in task.entries and task.entries[label].counted for task in scaled)
    )
    if not labels:
        return Suite((), (), "no algorithm has runs on every task with a reference score")
    out = [label for label in comparison.labels if label not in labels]
    bare = [task.label for task in comparison.tasks if not task.scale]
    why = [f"{', '.join(out)} lack runs on some of them"] if out else []
    why += [f"without a reference score: {', '.join(bare)}"] if bare else []
    return Suite(scaled, labels, "; ".join(why))


def parse_targets(assignments: Sequence[str]) -> dict[str, float]:
    """`--target ENV=RETURN` pairs by full environment id.

    Raises:
        UsageError: it is not such a pair.
    """
    targets = {}
    for text in assignments:
        name, equals, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not equals or not math.isfinite(number):
            raise UsageError(f"--target takes ENV=RETURN, such as pendulum=-200, not {text!r}")
        targets[registry.find_env(name).id] = number
    return targets


def find(
    found: Found,
    *,
    mix: Sequence[str] = (),
    targets: Mapping[str, float] | None = None,
    baseline: str = "",
) -> Findings:
    """Computes everything.

    Args:
        found: from `find_runs`.
        mix: what may differ within a task.
        targets: returns to reach, by environment.
        baseline: label to hold every other against; empty for all pairs.

    Raises:
        UsageError: the baseline is not there, or what is to be mixed cannot be.
    """
    comparison = compare(found.runs, mix)
    if baseline and baseline not in comparison.labels:
        raise UsageError(
            f"no runs of baseline {baseline!r}; {nearest(baseline, comparison.labels)}"
        )
    each = [(task, entry) for task in comparison.tasks for entry in task.entries.values()]
    bands = {
        (task.label, entry.label, axis): band(entry.counted, axis, f"{task.label} {entry.label}")
        for task, entry in each
        for axis in AXES
    }
    suite = make_suite(comparison)
    scores = {label: suite.scores(label) for label in suite.labels}
    return Findings(
        found=found,
        comparison=comparison,
        summaries={(t.label, e.label): summarise(t, e, targets or {}) for t, e in each},
        bands={key: one for key, one in bands.items() if one is not None},
        pairs=claims.pairs(comparison, baseline),
        suite=suite,
        aggregates={
            (label, name): (
                aggregate(name, scores[label]),
                aggregate_interval(name, scores[label], generator(name, label)),
            )
            for label in suite.labels
            for name in AGGREGATES
        },
    )
