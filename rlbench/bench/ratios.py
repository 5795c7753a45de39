"""Which ratios a kind of case reports, and how they follow from raw samples. Imports no jax.

A ratio is taken within each round, of samples measured one right after the other, and then told as
the median over rounds, with the lowest and the highest.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

PAIRS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "forward": tuple(
        (f"best plain / {name}", "best plain", name)
        for name in ("r=1", "r=2", "r=4", "r=8", "full")
    )
    + tuple((f"plain / {name}", "plain", name) for name in ("r=1", "r=4")),
    "generation": (
        ("limit / generation", "limit", "generation"),
        ("raw env / generation", "env", "generation"),
    ),
    "memory": (
        ("naive / eggroll", "naive", "eggroll"),
        ("naive / open_es", "naive", "open_es"),
    ),
    "peers": (
        ("evosax / eggroll", "evosax", "eggroll"),
        ("evosax / open_es", "evosax", "open_es"),
        ("naive / eggroll", "naive", "eggroll"),
        ("naive / open_es", "naive", "open_es"),
        ("evosax / eggroll, full horizon", "evosax", "eggroll_full"),
        ("evosax / open_es, full horizon", "evosax", "open_es_full"),
    ),
    "first_generation": (("cold / warm", "cold", "warm"),),
}
"""By kind: (label, the variant above the line, the variant below it)."""

UNITS = {"memory": "bytes"}
"""By kind: what its samples are, if not seconds."""


def ratios(kind: str, samples: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """The ratios that a kind declares, of the variants that were measured.

    Args:
        kind: of the case.
        samples: by variant, one a round.

    Returns:
        By label: `over` and `under` (variants), `median`, `low` and `high` over rounds.
    """
    found = {}
    for label, over, under in PAIRS.get(kind, ()):
        if samples.get(over) and samples.get(under):
            pairs = zip(samples[over], samples[under], strict=True)
            each = [above / below for above, below in pairs]
            found[label] = {
                "over": over,
                "under": under,
                "median": median(each),
                "low": min(each),
                "high": max(each),
            }
    return found
