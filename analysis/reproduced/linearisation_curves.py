"""Distances to the gradient that follow from measured moments. Imports no jax."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlbench.analysis.reproduced.claim import Data
from rlbench.analysis.reproduced.rates import Rate, rate

Floats = npt.NDArray[np.float64]
NORM, PRODUCT = "norm", "product"
SQUARE, THIN = "square", "thin"
ES, EGGROLL = "es", "eggroll"
FIRST_WEIGHTS = 1000
"""From which on exponents are fitted: they are those of large d."""


@dataclass(frozen=True)
class Family:
    """An f under sigma = d^-power, at W = 0.

    Attributes:
        f: `NORM`, <U, W> (1 + c ||W||^alpha), or `PRODUCT`, <U, W + c W W^T W>.
        alpha: the exponent of f.
        power: by which sigma falls.
        shapes: square matrices, or ones of a fixed width.
        coefficient: c.
        d: numbers of weights.
        es: what it adds to the gradient over c sigma^alpha, one a d.
        eggroll: the same at rank 1.
    """

    f: str
    alpha: float
    power: float
    shapes: str
    coefficient: float
    d: Floats
    es: Floats
    eggroll: Floats

    @property
    def scale(self) -> Floats:
        """The factor c sigma^alpha: what a moment is multiplied by."""
        return scale(self.coefficient, self.alpha, self.power, self.d)

    def distance(self, algo: str) -> Floats:
        """||g - grad f||_F, where ||grad f||_F = 1."""
        return np.abs(self.scale * (self.es if algo == ES else self.eggroll))

    @property
    def gap(self) -> Floats:
        """||g_EGGROLL - g_ES||_F."""
        return np.abs(self.scale * (self.eggroll - self.es))

    @property
    def relative_gap(self) -> Floats:
        """The gap over ||g_ES||_F."""
        return np.asarray(self.gap / np.abs(1 + self.scale * self.es))

    @property
    def predicted(self) -> float:
        """The exponent of (sigma sqrt(d))^alpha."""
        return self.alpha * (0.5 - self.power)

    def rate(self, values: Floats) -> Rate:
        """The exponent of values, one a d, from `FIRST_WEIGHTS` on."""
        kept = self.d >= FIRST_WEIGHTS
        return rate(self.d[kept].tolist(), values[kept].tolist())


def scale(coefficient: float, alpha: float, power: float, d: Floats) -> Floats:
    """The factor c sigma^alpha under sigma = d^-power."""
    return np.asarray(coefficient * d ** (-alpha * power))


def families(
    data: Data, shapes: str, alphas: Sequence[float] | None = None, f: str = NORM
) -> Iterator[Family]:
    """Those that were measured, each alpha (or these) with each power."""
    case = data.cases.get("exact")
    if case is None:
        return
    for found in case.values["moments"]:
        if (found["f"], found["shapes"]) != (f, shapes):
            continue
        if alphas is not None and found["alpha"] not in alphas:
            continue
        moments = [np.array(found[name], np.float64) for name in ("d", ES, EGGROLL)]
        for power in case.params["powers"]:
            yield Family(f, found["alpha"], power, shapes, case.params["coefficient"], *moments)
