"""Runs as data for other tools: a tidy table for notebooks, score matrices as rliable takes them.
Imports no jax.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlbench.analysis.runs import Run, find_runs
from rlbench.analysis.scores import score
from rlbench.analysis.tasks import Comparison, Task, compare
from rlbench.errors import UsageError

Matrix = npt.NDArray[np.float64]


def load(*paths: str | Path) -> pd.DataFrame:
    """Every evaluation of every run below the paths, a row each.

    Columns: `task` and `algorithm` as in a report (`algorithm` tells settings apart where a task
    has several of one algorithm), `env`, `algo`, `config_hash`, `seed`, `status`,
    `simulated_env_steps`, `live_env_steps`, `train_seconds`, `return_mean`, `final` (the run's
    last evaluation), `score` (what the run counts with in a report, NaN if it is not counted) and
    `path`. Evaluations that are not finite are left out; a run without any has no row.

    Raises:
        UsageError: a path does not exist, or none holds a run.
    """
    comparison = compare(find_runs(paths).runs)
    rows = [
        row
        for task in comparison.tasks
        for label, entry in task.entries.items()
        for run in entry.runs
        for row in _rows(task, label, run)
    ]
    columns = [*_LABELS, *_NUMBERS, "return_mean", "final", "score", "path"]
    return pd.DataFrame(rows, columns=columns)


_LABELS = ("task", "algorithm", "env", "algo", "config_hash", "seed", "status")
_NUMBERS = ("simulated_env_steps", "live_env_steps", "train_seconds")


def _rows(task: Task, label: str, run: Run) -> list[tuple[Any, ...]]:
    head = (task.label, label, run.env, run.algo, run.cell, run.seed, run.state)
    curve, value = run.curve, score(run)
    points = zip(curve.steps, curve.live, curve.seconds, curve.returns, strict=True)
    last = len(curve.returns) - 1
    return [(*head, *point, i == last, value, str(run.path)) for i, point in enumerate(points)]


def score_matrices(*paths: str | Path, normalised: bool = True) -> dict[str, Matrix]:
    """Final scores as rliable takes them: by algorithm, (runs, tasks).

    Args:
        paths: run directories, or folders of them.
        normalised: 0 for random actions and 1 for the reference, of tasks that have one; else
            returns, of all tasks.

    Raises:
        UsageError: the algorithms have not all the same tasks, or one has not the same number of
            runs on each.
    """
    comparison = compare(find_runs(paths).runs)
    tasks = _tasks(comparison, normalised)
    if not tasks:
        raise UsageError("no task here has a reference score; ask for normalised=False")
    found = {label: _matrix(tasks, label, normalised) for label in comparison.labels}
    for label, matrix in found.items():
        if matrix is None:
            counts = {
                t.label: len(t.entries[label].counted) if label in t.entries else 0 for t in tasks
            }
            raise UsageError(
                f"{label} has not the same number of runs on every task, which a matrix needs: "
                + ", ".join(f"{count} on {task}" for task, count in counts.items())
            )
    return {label: matrix for label, matrix in found.items() if matrix is not None}


def _tasks(comparison: Comparison, normalised: bool) -> list[Task]:
    return [task for task in comparison.tasks if task.scale or not normalised]


def _matrix(tasks: Sequence[Task], label: str, normalised: bool) -> Matrix | None:
    """(runs, tasks); None if the numbers of runs differ or a task lacks the algorithm."""
    if not tasks or not all(label in task.entries for task in tasks):
        return None
    columns = [
        [task.scale.normalise(x) for x in task.entries[label].scores]
        if normalised and task.scale
        else task.entries[label].scores
        for task in tasks
    ]
    if len({len(column) for column in columns}) != 1 or not columns[0]:
        return None
    return np.array(columns, np.float64).T


def matrices(comparison: Comparison) -> dict[str, Any]:
    """A report's scores.json: every score by algorithm, task and seed, and matrices.

    `returns` is {algorithm: {task: {seed: score}}}; `normalised` holds `tasks`, and `scores` as
    {algorithm: rows of (runs, tasks)} of those with equally many runs on every task.
    """
    returns = {
        label: {
            task.label: {str(run.seed): score(run) for run in task.entries[label].counted}
            for task in comparison.tasks
            if label in task.entries
        }
        for label in comparison.labels
    }
    tasks = _tasks(comparison, True)
    found = {label: _matrix(tasks, label, True) for label in comparison.labels}
    rows = {label: matrix.tolist() for label, matrix in found.items() if matrix is not None}
    return {
        "returns": returns,
        "normalised": {"tasks": [task.label for task in tasks], "scores": rows},
    }
