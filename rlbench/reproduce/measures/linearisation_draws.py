"""The moments of `linearisation`, estimated by the code that trains.

The estimate is linear in f, and for <U, W> alone it is U: what is estimated is what the rest of f
adds. That is homogeneous, so one sigma tells all.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rlbench.agents._perturbation import FullRank, LowRank, Perturbation
from rlbench.reproduce.measures._harness import Draws, Fitness, gradients
from rlbench.reproduce.measures._numbers import Floats, in_pair, mean_and_error, unit
from rlbench.reproduce.measures.linearisation import functions, moments

HOWS: dict[str, Perturbation] = {"es": FullRank(), "eggroll": LowRank(1)}


def rest(f: str, u: Floats, alpha: float) -> Fitness:
    """What f has beside <U, W>, over c."""
    direction = jnp.asarray(u, jnp.float32)

    def norm(w: Float[Array, "P out in"]) -> Float[Array, " P"]:
        lengths = jnp.sqrt(jnp.sum(w**2, axis=(1, 2)))
        return jnp.einsum("oi,poi->p", direction, w) * lengths**alpha

    def product(w: Float[Array, "P out in"]) -> Float[Array, " P"]:
        triple = (w @ w.swapaxes(1, 2)) @ w
        return jnp.einsum("oi,poi->p", direction, triple)

    return norm if f == "norm" else product


def _points(f: str, alpha: float, u: Floats, draws: Draws, seed: int) -> list[dict[str, Any]]:
    """A point of each algorithm."""
    fitness, sigma = rest(f, u, alpha), u.size**-0.5
    exact = moments(f, alpha, *np.array(u.shape, np.float64)[:, None])
    points = []
    for (algo, how), expected in zip(HOWS.items(), exact, strict=True):
        found = gradients(how, in_pair(u.shape), fitness, sigma, draws, seed)
        mean, error = mean_and_error(np.einsum("koi,oi->k", found, u) / sigma**alpha)
        of = {"f": f, "alpha": alpha, "d": u.size, "algo": algo}
        of |= {"pairs": draws.generations * draws.pairs, "exact": float(expected[0])}
        points.append(of | {"moment": float(mean), "standard_error": float(error)})
    return points


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Estimates of what is added, along U: the exact gradient has no other part.

    Args:
        params: `alphas`, `sides` (of square matrices), `generations`, `pairs` (in each, at most),
            `entries` (of E, to be drawn at most by each estimate), `seed`.

    Returns:
        `values`: `generations`, and `points`, a list of `f`, `alpha`, `d`, `algo` (es or eggroll),
        `pairs` in all, `moment` (what is added over c sigma^alpha) with its `standard_error`, and
        `exact`.
    """
    points = []
    for side in params["sides"]:
        u, most = unit((side, side), params["seed"]), params["entries"] // params["generations"]
        draws = Draws(params["generations"], min(params["pairs"], most // u.size))
        for f, alpha in functions(params["alphas"]):
            points += _points(f, alpha, u, draws, params["seed"])
    return {"samples": {}, "values": {"generations": params["generations"], "points": points}}
