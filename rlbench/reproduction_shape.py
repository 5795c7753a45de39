"""What the record of a reproduction must hold to be gone on with, and checked. No jax."""

from typing import Any

from rlbench.seal import KEY, flaw

FILE = "reproduction.json"
SCHEMA = 1
PROVENANCE = ("versions", "commit", "dirty", "hardware", "jax")
"""What it tells of where it was measured; all of it must be equal for a case to be kept."""


def unlike(data: Any) -> str:
    """Why it is no record of a reproduction, after its name; empty if it is one."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        return "is of another version"
    if told := flaw(data):
        return f"is damaged ({told})"
    return "" if _whole(data) else "lacks what a reproduction records"


def _whole(data: dict[str, Any]) -> bool:
    """Whether it has what goes on being measured, and not what rules look at."""
    cases = data.get("cases")
    if not isinstance(cases, list) or not isinstance(data.get("provenance"), dict):
        return False
    names = ("name", "kind", "params")
    return {"started", "ended", "load_before", KEY} <= data.keys() and all(
        isinstance(case, dict)
        and isinstance(case.get("name"), str)
        and all(n in case for n in names)
        for case in cases
    )
