"""What everybody who reads a run counts on. Seals tell that its files are what somebody wrote, and
not that it was this harness. Imports no jax.
"""

from typing import Any

from rlbench.bounds import is_number

COUNTS = ("updates", "simulated_env_steps", "live_env_steps", "eval_env_steps")
"""Of a run, at any moment."""
TOTALS = (*COUNTS, "train_seconds", "eval_seconds")
"""What only grows: in every row, and in the status of a run that is over."""
COMPILING = ("compile_seconds", "eval_compile_seconds")


def flaw(status: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """What of status.json or metrics.jsonl no run has written; empty if nothing."""
    if not all(isinstance(status.get(name), str) for name in ("status", "reason")):
        return "status.json lacks its status"
    if "state_sha256" in status:
        for name in (*TOTALS, *COMPILING):
            if not is_number(status.get(name)):
                return f"{name} in status.json is no number"
        if not isinstance(status.get("memory"), dict):
            return "memory in status.json is no table"
    for i, row in enumerate(rows, 1):
        if row.get("kind") == "evaluation" and (what := _flaw_of_evaluation(row)):
            return f"{what} in line {i} of metrics.jsonl"
    return ""


def _flaw_of_evaluation(row: dict[str, Any]) -> str:
    lost = row.get("nonfinite") is True  # what was not finite is null
    for name in ("return_mean", "return_std", *TOTALS):
        if not is_number(row.get(name)) and not (lost and row.get(name, 0) is None):
            return f"{name} is no number"
    for name in ("returns", "lengths"):
        values = row.get(name)
        if not isinstance(values, list) or not values:
            return f"{name} is no list"
        if not all(is_number(x) or (lost and x is None) for x in values):
            return f"{name} holds what is no number"
    return ""
