"""The rows of metrics.jsonl: each what it says, each going on from the one before. No jax."""

import math
from typing import Any

import numpy as np

from rlbench.bounds import is_number
from rlbench.files import parse_json
from rlbench.record_shape import TOTALS
from rlbench.verify.finding import Findings

KINDS = ("evaluation", "updates")
TOLERANCE = 1e-9
"""Relative: means are sums in float64, in whatever order NumPy adds them up."""


def read_rows(content: bytes, found: Findings) -> list[dict[str, Any]]:
    """The whole lines; what is none is a problem, a torn last one a note."""
    rows = []
    whole, newline, torn = content.rpartition(b"\n")
    if torn:
        found.notes.append("the last line of metrics.jsonl is torn, and not counted")
    for i, line in enumerate(whole.split(b"\n") if newline else [], 1):
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or row.get("kind") not in KINDS:
            found.problems.append(f"line {i} of metrics.jsonl is no row")
        else:
            rows.append(row)
    return rows


def number(value: Any) -> float:
    """The value, or 0 if it is no number."""
    return value if is_number(value) else 0


def check_rows(rows: list[dict[str, Any]], episodes: Any, found: Findings) -> None:
    """Holds rows against each other, and evaluations against themselves.

    Args:
        rows: in order.
        episodes: that an evaluation has, as the configuration says.
        found: where problems go.
    """
    before = dict.fromkeys(TOTALS, 0.0)
    newest = dict.fromkeys(KINDS, -1.0)
    for i, row in enumerate(rows, 1):
        bad = [name for name in TOTALS if not is_number(row.get(name))]
        if bad:
            found.problems.append(f"row {i} of metrics.jsonl has no number {bad[0]!r}")
            continue
        for name in TOTALS:
            found.unless(row[name] >= before[name], f"{name} goes backwards in row {i}")
            before[name] = row[name]
        live = row["live_env_steps"] <= row["simulated_env_steps"]
        found.unless(live, f"row {i} has more live env steps than simulated ones")
        again = row["updates"] <= newest[row["kind"]]
        found.unless(not again, f"row {i} repeats an update that a row before it has")
        newest[row["kind"]] = row["updates"]
        if row["kind"] == "evaluation":
            _check_evaluation(row, i, episodes, found)


def _check_evaluation(row: dict[str, Any], i: int, episodes: Any, found: Findings) -> None:
    returns, lengths = row.get("returns"), row.get("lengths")
    if not isinstance(returns, list) or not isinstance(lengths, list):
        found.problems.append(f"row {i} has no lists of returns and lengths")
        return
    same = len(returns) == len(lengths) == episodes
    found.unless(same, f"row {i} has not the {episodes} episodes of an evaluation")
    if not returns or not all(map(is_number, returns)):
        return  # null: not finite, which the run's status tells
    for name, value in (("return_mean", np.mean(returns)), ("return_std", np.std(returns))):
        same = is_number(row.get(name)) and math.isclose(
            row[name], float(value), rel_tol=TOLERANCE, abs_tol=TOLERANCE
        )
        found.unless(same, f"{name} of row {i} is not that of its returns")
