"""The error of `convergence` for f(W) = sin<U, W>, estimated by the code that trains."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rlbench.agents._perturbation import FullRank, LowRank, Perturbation
from rlbench.reproduce.measures._harness import Draws, gradients
from rlbench.reproduce.measures._numbers import in_pair, largest_t, norm_of_mean
from rlbench.reproduce.measures.convergence import gaussian_low_rank, sines


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Estimates of the gradient at some ranks and under full noise, held against closed forms.

    Args:
        params: `shape`, `sigma`, `phase`, `ranks`, `generations`, `pairs` (in each), `seed`.

    Returns:
        `values`: `generations`, and `draws` by `r=1`, ..., `full`: `rank` (null for full noise);
        `error` of the mean estimate to the exact gradient under full noise, over the latter's
        norm, its `standard_error`, and `exact` for what it should be; over the matrix's `entries`,
        the `largest_t` of the mean estimate to what it should be.
    """
    shape, sigma = in_pair(params["shape"]), params["sigma"]
    (sine,) = sines(shape, 1, params["phase"], params["seed"])
    u = jnp.asarray(sine.u, jnp.float32)

    def fitness(perturbation: Array) -> Array:
        return jnp.sin(params["phase"] + jnp.einsum("oi,poi->p", u, perturbation))

    full = sine.full_rank(sigma)
    hows: dict[str, Perturbation] = {f"r={r}": LowRank(r) for r in params["ranks"]}
    found: dict[str, Any] = {}
    for name, how in (hows | {"full": FullRank()}).items():
        rank = how.rank if isinstance(how, LowRank) else None
        expected = full if rank is None else gaussian_low_rank(sine, sigma, rank)
        draws = Draws(params["generations"], params["pairs"])
        estimates = gradients(how, shape, fitness, sigma, draws, params["seed"])
        error, standard = norm_of_mean((estimates - full) / np.linalg.norm(full))
        found[name] = {
            "rank": rank,
            "error": error,
            "standard_error": standard,
            "exact": float(np.linalg.norm(expected - full) / np.linalg.norm(full)),
            "entries": sine.u.size,
            "largest_t": largest_t(estimates, expected),
        }
    return {"samples": {}, "values": {"generations": params["generations"], "draws": found}}
