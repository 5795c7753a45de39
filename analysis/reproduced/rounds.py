"""What was measured in rounds: medians, with the lowest and the highest. Imports no jax."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rlbench.analysis.reproduced.claim import UNTESTED, Case, Data, Finding


@dataclass(frozen=True)
class Spread:
    """Median over rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def spread(samples: Sequence[float]) -> Spread:
    """Of at least one sample."""
    return Spread(median(samples), min(samples), max(samples))


def ratios(over: Sequence[float], under: Sequence[float], factor: float = 1.0) -> list[float]:
    """Factor x over / under, within each round: what slowed the machine slowed both."""
    return [factor * a / b for a, b in zip(over, under, strict=True)]


def untested(claims: Mapping[str, str], reason: str, rule: str) -> list[Finding]:
    """A finding for each claim (by claim: its place) that could not be tested.

    Args:
        claims: by claim, its place.
        reason: why not.
        rule: by which it would have been.
    """
    return [Finding(claim, where, UNTESTED, reason, rule) for claim, where in claims.items()]


def case_of(data: Data, name: str, variants: Sequence[str]) -> Case | None:
    """The case, if it was measured and has samples of all these variants."""
    case = data.cases.get(name)
    if case is None or not all(case.samples.get(variant) for variant in variants):
        return None
    return case
