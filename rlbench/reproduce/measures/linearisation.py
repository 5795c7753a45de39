"""What ES and EGGROLL at rank 1 add to a known gradient, exactly, from 4 to 17 million weights.

f(W) = <U, W> (1 + c ||W||^alpha), ||U||_F = 1, M = 0, so that the gradient of f is U. With
h(n) = E[||x||^alpha x_1^2] for n standard normal numbers x, the gradient smoothed by full noise is
(1 + c sigma^alpha h(d)) U, d = m n. At rank 1, ||a b^T|| = ||a|| ||b||, and it is
(1 + c sigma^alpha h(m) h(n)) U. For alpha = 2, h(n) = n + 2 and f is a cubic.

The cubic <U, W + c W W^T W> tells the two apart: by Wick's theorem full noise adds
c sigma^2 (m + n + 1) U to its gradient, but as E E^T E = ||a||^2 ||b||^2 E at rank 1, EGGROLL adds
c sigma^2 (m + 2) (n + 2) U.
"""

from typing import Any

import numpy as np
from scipy.special import poch

from rlbench.reproduce.measures._numbers import Floats


def moment(alpha: float, n: Floats) -> Floats:
    """h(n) = E[||x||^(alpha + 2)] / n = 2^(alpha / 2 + 1) Gamma(n / 2 + alpha / 2 + 1) /
    (n Gamma(n / 2)).

    Args:
        alpha: at least 0.
        n: numbers of entries; any shape.
    """
    return np.asarray(2 ** (alpha / 2 + 1) * poch(n / 2, alpha / 2 + 1) / n)


def moments(f: str, alpha: float, m: Floats, n: Floats) -> tuple[Floats, Floats]:
    """What is added over c sigma^alpha by ES and by EGGROLL at rank 1, for (m, n) matrices.

    Args:
        f: norm, or product, of which alpha is 2.
        alpha: of f.
        m: rows; any shape.
        n: columns, as many.
    """
    of_es = moment(alpha, m * n) if f == "norm" else m + n + 1
    return of_es, moment(alpha, m) * moment(alpha, n)


def functions(alphas: list[float]) -> list[tuple[str, float]]:
    """Every f with its alpha."""
    return [("norm", alpha) for alpha in alphas] + [("product", 2.0)]


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """The moments, of square matrices and of ever longer ones of one width.

    Args:
        params: `alphas`, `sides`, `thin` (the width); `powers`, `coefficient` are for the reader.

    Returns:
        `values`: `moments`, a list of `f` (norm or product), `alpha`, `shapes` (square or thin),
        and a matrix each, `d`, and `es` and `eggroll`: what they add over c sigma^alpha.
    """
    sides = np.asarray(params["sides"], np.float64)
    width = np.full_like(sides, params["thin"])
    shapes = {"square": (sides, sides), "thin": (sides**2 / width, width)}
    found = []
    for f, alpha in functions(params["alphas"]):
        for name, (m, n) in shapes.items():
            of_es, of_eggroll = moments(f, alpha, m, n)
            of = {"f": f, "alpha": alpha, "shapes": name, "d": (m * n).tolist()}
            found.append(of | {"es": of_es.tolist(), "eggroll": of_eggroll.tolist()})
    return {"samples": {}, "values": {"moments": found}}
