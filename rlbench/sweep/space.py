"""Settings that are searched for: their distributions, and draws from them. Imports no jax."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbench.errors import UsageError, nearest

DISTRIBUTIONS = ("uniform", "log_uniform", "choice")


@dataclass(frozen=True)
class Distribution:
    """Of one setting.

    Attributes:
        kind: one of `DISTRIBUTIONS`.
        values: low and high, both finite, or the choices.
    """

    kind: str
    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """A value."""
        if self.kind == "choice":
            return self.values[int(rng.integers(len(self.values)))]
        if self.kind == "uniform":
            return float(rng.uniform(*self.values))
        return float(np.exp(rng.uniform(*np.log(self.values))))


@dataclass(frozen=True)
class Space:
    """What `[cell.random]` says.

    Attributes:
        trials: how many settings are tried for every env and algo.
        seed: of the draws.
        distributions: by setting.
    """

    trials: int
    seed: int
    distributions: Mapping[str, Distribution]

    def draw(self, env: str, algo: str, trial: int, again: int = 0) -> dict[str, Any]:
        """A trial's settings: other ones for every env, algo and trial.

        Args:
            env: full id.
            algo: name.
            trial: from 0.
            again: how often this trial's settings were drawn and thrown away.
        """
        words = hashlib.sha256(f"{env}\0{algo}".encode()).digest()
        numbers = [self.seed, trial, *np.frombuffer(words, np.uint32).tolist()]
        rng = np.random.default_rng(numbers + [again] * (again > 0))
        return {name: found.draw(rng) for name, found in self.distributions.items()}


def read_space(given: Any, where: str) -> Space:
    """A table `random`, checked.

    Args:
        given: the table: trials, seed, and a distribution for every setting.
        where: how a message calls the cell.

    Raises:
        UsageError: it is no such table.
    """
    if not isinstance(given, dict):
        raise UsageError(f"random of {where} must be a table, not {given!r}")
    table = dict(given)
    trials, seed = table.pop("trials", None), table.pop("seed", 0)
    if not _whole(trials, 1) or not table:
        raise UsageError(f"random of {where} needs whole trials above 0, and distributions")
    if not _whole(seed, 0):
        raise UsageError(f"seed in random of {where} must be a whole number, not {seed!r}")
    found = {name: _distribution(value, f"{name} of {where}") for name, value in table.items()}
    return Space(trials, seed, found)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _distribution(given: Any, what: str) -> Distribution:
    if not isinstance(given, dict) or len(given) != 1:
        raise UsageError(f"{what} must be one distribution, such as {{ uniform = [0, 1] }}")
    ((kind, values),) = given.items()
    if kind not in DISTRIBUTIONS:
        raise UsageError(f"unknown distribution {kind!r} of {what}; {nearest(kind, DISTRIBUTIONS)}")
    if not isinstance(values, list) or not values:
        raise UsageError(f"{kind} of {what} must be a list, not {values!r}")
    if kind != "choice":
        numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in values)
        if len(values) != 2 or not numbers or not values[0] < values[1]:
            raise UsageError(
                f"{kind} of {what} must be [low, high], low below high, not {values!r}"
            )
        if kind == "log_uniform" and values[0] <= 0:
            raise UsageError(f"log_uniform of {what} must be above 0, not {values!r}")
    return Distribution(kind, tuple(values))
