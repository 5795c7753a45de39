"""Ranges of hyper-parameters, refused in one sentence."""

from typing import Any

from rlbench.errors import UsageError


def at_least(options: Any, least: int, *names: str) -> None:
    """Refuses integers below `least`.

    Raises:
        UsageError: names the first, its value and the least.
    """
    for name in names:
        if getattr(options, name) < least:
            raise UsageError(f"{name} must be at least {least}, not {getattr(options, name)}")


def positive(options: Any, *names: str) -> None:
    """Refuses zero, negative numbers, infinities and NaN.

    Raises:
        UsageError: names the first and its value.
    """
    for name in names:
        value = getattr(options, name)
        if not 0.0 < value < float("inf"):
            raise UsageError(f"{name} must be a positive finite number, not {value}")


def between(options: Any, low: float, high: float, *names: str) -> None:
    """Refuses numbers outside [low, high], infinities and NaN.

    Raises:
        UsageError: names the first, its value and the range.
    """
    for name in names:
        value = getattr(options, name)
        if not low <= value <= high or value in (float("inf"), -float("inf")):
            wanted = (
                f"a finite number of at least {low:g}"
                if high == float("inf")
                else f"between {low:g} and {high:g}"
            )
            raise UsageError(f"{name} must be {wanted}, not {value}")
