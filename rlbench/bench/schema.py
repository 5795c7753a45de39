"""What a `bench.json` must look like. Imports no jax.

    {"schema": 1, "started", "ended", "command", "quick", "load_before": [1, 5, 15 minutes] or null,
     "provenance": {...}, "cases": [CASE, ...]}

A CASE has `name`, `kind` and `params`, and then either `skipped` or `failed` (the reason), or
`seconds` (its process's), `samples` (by variant, one a round), `ratios` (of those) and `values`.
"""

from typing import Any

SCHEMA = 1
_TOP: dict[str, type | tuple[type, ...]] = {
    "started": str,
    "ended": str,
    "command": str,
    "quick": bool,
    "load_before": (list, type(None)),
    "provenance": dict,
    "cases": list,
}
_NUMBER = (int, float)


def validate(data: Any) -> None:
    """Checks a whole file's content.

    Raises:
        ValueError: a field is missing, of another type, or a ratio is of no measured variant.
    """
    _check(data, dict, "the file")
    if data.get("schema") != SCHEMA:
        raise ValueError(f"schema is {data.get('schema')!r}, not {SCHEMA}")
    _fields(data, _TOP, "the file")
    for number in data["load_before"] or []:
        _check(number, _NUMBER, "load_before")
    names = [_case(case) for case in data["cases"]]
    if len(set(names)) != len(names):
        raise ValueError("two cases have one name")


def _check(value: Any, kind: type | tuple[type, ...], what: str) -> None:
    # A bool is an int to Python, and no number here.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{what} is {value!r}, not of type {kind}")


def _fields(data: dict[str, Any], kinds: dict[str, Any], what: str) -> None:
    for name, kind in kinds.items():
        if name not in data:
            raise ValueError(f"{what} has no {name}")
        _check(data[name], kind, f"{name} of {what}")


def _case(case: Any) -> str:
    _check(case, dict, "a case")
    _fields(case, {"name": str, "kind": str, "params": dict}, "a case")
    name = str(case["name"])
    ends = [end for end in ("skipped", "failed", "samples") if end in case]
    if len(ends) != 1:
        raise ValueError(f"{name} must have one of skipped, failed and samples, not {ends}")
    if ends[0] != "samples":
        _check(case[ends[0]], str, f"{ends[0]} of {name}")
        return name
    kinds = {"seconds": _NUMBER, "samples": dict, "ratios": dict, "values": dict}
    _fields(case, kinds, name)
    for variant, samples in case["samples"].items():
        _check(samples, list, f"samples of {variant} in {name}")
        for sample in samples:
            _check(sample, _NUMBER, f"a sample of {variant} in {name}")
    for label, ratio in case["ratios"].items():
        _ratio(ratio, case["samples"], f"ratio {label!r} of {name}")
    return name


def _ratio(ratio: Any, samples: dict[str, list[float]], what: str) -> None:
    _check(ratio, dict, what)
    _fields(ratio, {"over": str, "under": str}, what)
    _fields(ratio, dict.fromkeys(("median", "low", "high"), _NUMBER), what)
    for side in ("over", "under"):
        if ratio[side] not in samples:
            raise ValueError(f"{what} is of {ratio[side]!r}, which was not measured")
