"""Numbers out of range, refused in one sentence."""

import math
from typing import Any, TypeGuard

from rlbench.errors import UsageError

MOST = 2**31 - 1
"""What is counted is numbered in 32 bits."""
LARGEST = 2**63 - 1
"""Integer of any file or option: neither a float nor an array holds them all."""


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is one of JSON's numbers, which `true` is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def at_least(options: Any, least: int, *names: str) -> None:
    """Refuses integers below `least`, and those that 32 bits do not hold.

    Raises:
        UsageError: names the first, its value and the limit.
    """
    for name in names:
        countable(name, getattr(options, name))
        if getattr(options, name) < least:
            raise UsageError(f"{name} must be at least {least}, not {getattr(options, name)}")


def countable(name: str, value: int) -> None:
    """Refuses integers that 32 bits do not hold.

    Raises:
        UsageError: names it, the most and its value.
    """
    if value > MOST:
        raise UsageError(f"{name} must be at most {MOST} (32 bits), not {value}")


def product(options: Any, *names: str) -> int:
    """Of these; refuses what 32 bits do not hold.

    Raises:
        UsageError: names them, the most and their product.
    """
    value = int(math.prod(getattr(options, name) for name in names))
    countable(" x ".join(names), value)
    return value


def mirrored_pairs(options: Any, name: str) -> None:
    """Refuses a population that is not whole pairs of mirrored members.

    Raises:
        UsageError: names it, and the nearest that is.
    """
    value = getattr(options, name)
    countable(name, value)
    if value < 2 or value % 2:
        raise UsageError(
            f"{name} must be an even number of at least 2 (mirrored pairs), not {value}; the "
            f"nearest is {max(2, value + value % 2)}"
        )


def positive(options: Any, *names: str) -> None:
    """Refuses zero, negative numbers, infinities and NaN.

    Raises:
        UsageError: names the first and its value.
    """
    for name in names:
        value = getattr(options, name)
        if not 0.0 < value < float("inf"):
            raise UsageError(f"{name} must be a positive finite number, not {value}")


def not_negative(options: Any, *names: str) -> None:
    """Refuses negative numbers, infinities and NaN.

    Raises:
        UsageError: names the first and its value.
    """
    for name in names:
        value = getattr(options, name)
        if not 0.0 <= value < float("inf"):
            raise UsageError(f"{name} must be a finite number of at least 0, not {value}")


def between(options: Any, low: float, high: float, *names: str) -> None:
    """Refuses numbers outside [low, high], and NaN.

    Raises:
        UsageError: names the first, its value and the range.
    """
    for name in names:
        value = getattr(options, name)
        if not low <= value <= high:
            raise UsageError(f"{name} must be between {low:g} and {high:g}, not {value}")
