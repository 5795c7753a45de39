"""What a general cubic f(W) = C(W, W, W) / 6 adds to the gradient at M = 0, which is zero.

By Wick's theorem E[E_v E_k E_l E_p] has 3 terms for full noise and, at rank r, 9: those 3, and 6
with a factor 1 / r that pair the rows otherwise than the columns. With entries v = (i, j),

    ES:               (sigma^2 / 2) sum_k C[k, k, v]
    EGGROLL, rank r:  the same + (sigma^2 / r) sum_{k, l} C[(i, l), (k, j), (k, l)].
"""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rlbench.agents._perturbation import FullRank, LowRank, Perturbation
from rlbench.reproduce.measures._harness import Draws, Fitness, gradients
from rlbench.reproduce.measures._numbers import Floats, in_pair, largest_t, norm_of_mean


def partial_trace(c: Floats) -> Floats:
    """sum_k C[k, k, v]: (d, d, d) to (d,)."""
    return np.asarray(np.einsum("kkv->v", c))


def random_tensor(d: int, seed: int) -> Floats:
    """Symmetric in its three places, with a partial trace of norm 1: (d, d, d)."""
    raw = np.random.default_rng(seed).normal(size=(d, d, d))
    c = sum(np.transpose(raw, order) for order in itertools.permutations(range(3)))
    return np.asarray(c / np.linalg.norm(partial_trace(np.asarray(c))), np.float64)


def without_trace(c: Floats) -> Floats:
    """The same less what makes its partial trace: that is now zero."""
    d = len(c)
    part = np.einsum("ij,k->ijk", np.eye(d), partial_trace(c)) / (d + 2)
    return np.asarray(c - part - part.transpose(0, 2, 1) - part.transpose(2, 1, 0))


def extra(c: Floats, shape: tuple[int, int], rank: int | None) -> Floats:
    """What is added to the gradient, over sigma^2: (out, in).

    Args:
        c: (d, d, d), d = out * in, symmetric.
        shape: (out, in).
        rank: of EGGROLL with Gaussian factors; None for full noise.
    """
    found = partial_trace(c).reshape(shape) / 2
    if rank is None:
        return found
    crossed: Floats = np.einsum("ilkjkl->ij", c.reshape(shape * 3))
    return np.asarray(found + crossed / rank)


def cubic(c: Floats) -> Fitness:
    """C(W, W, W) / 6."""
    d = len(c)
    tensor = jnp.asarray(c.reshape(d, d * d), jnp.float32)

    def fitness(w: Float[Array, "P out in"]) -> Float[Array, " P"]:
        flat = w.reshape(-1, d)
        rows = (flat @ tensor).reshape(-1, d, d)
        return jnp.einsum("pbc,pb,pc->p", rows, flat, flat) / 6

    return fitness


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Estimates by the code that trains of what is added, beside what it should be.

    Args:
        params: `shape`, `ranks`, `generations`, `pairs` (in each), `seed`.

    Returns:
        `values`: `generations`, and `tensors` (random, traceless) by `es`, `r=1`, ...: the norm of
        what is added over sigma^2, `exact` and estimated (`norm`, with its `standard_error`), and,
        over its `entries`, the `largest_t` of the estimate to what it should be.
    """
    shape = in_pair(params["shape"])
    c = random_tensor(shape[0] * shape[1], params["seed"])
    hows: dict[str, Perturbation] = {"es": FullRank()}
    hows |= {f"r={r}": LowRank(r) for r in params["ranks"]}
    draws = Draws(params["generations"], params["pairs"])
    found: dict[str, dict[str, Any]] = {}
    for name, tensor in (("random", c), ("traceless", without_trace(c))):
        fitness, found[name] = cubic(tensor), {}
        for algo, how in hows.items():
            expected = extra(tensor, shape, how.rank if isinstance(how, LowRank) else None)
            estimates = gradients(how, shape, fitness, 1.0, draws, params["seed"])
            norm, error = norm_of_mean(estimates)
            found[name][algo] = {
                "exact": float(np.linalg.norm(expected)),
                "norm": norm,
                "standard_error": error,
                "entries": expected.size,
                "largest_t": largest_t(estimates, expected),
            }
    return {"samples": {}, "values": {"generations": params["generations"], "tensors": found}}
