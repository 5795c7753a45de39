"""The law of an entry of E = A B^T / sqrt(r): in closed form, and as the harness draws it.

Given its row of B, an entry is normal with variance Q / r, Q chi-squared with r degrees of freedom.
Its density is (paper, section 4, Gaussian factors of variance 1)

    p_r(z) = 2 sqrt(r) |x|^nu K_nu(|x|) / (2^((r + 1) / 2) sqrt(pi) Gamma(r / 2)),
    x = sqrt(r) z, nu = (r - 1) / 2.

The entries of one matrix depend on each other, so one entry of each matrix is looked at.
"""

import itertools
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import special, stats
from scipy.integrate import quad

from rlbench.agents import _perturbation as noises
from rlbench.agents._perturbation import LowRank
from rlbench.reproduce.measures._harness import NOISE_TYPE, Draws
from rlbench.reproduce.measures._numbers import Floats
from rlbench.types import Key

SHAPE = (4, 3)
"""Of the matrices; every place is looked at in as many of them."""
RANGE = 3.0
"""The paper's figure goes from -3 to 3."""
PLACES, BINS = 241, 60


def density(z: Floats, r: int) -> Floats:
    """p_r(z): (n,) to (n,). At z = 0 it is infinite for r = 1, and nan for any other rank.

    The Bessel function is taken scaled by exp(|x|); near 0 it overflows from r = 200 on even so.
    """
    x, nu = np.abs(np.sqrt(r) * np.asarray(z)), (r - 1) / 2
    log_bessel = np.log(special.kve(nu, x)) - x
    log_rest = np.log(2 * np.sqrt(r / np.pi)) - special.gammaln(r / 2) - (r + 1) / 2 * np.log(2)
    return np.asarray(np.exp(log_rest + special.xlogy(nu, x) + log_bessel))


def distance_to_normal(r: int) -> float:
    """The largest |p_r(z) z - phi(z) z|, on a fine grid of what is left of 0 < z <= `RANGE`."""
    z = np.linspace(RANGE / 6000, RANGE, 6000)
    return float(np.max(np.abs(density(z, r) - stats.norm.pdf(z)) * z))


def kurtosis_error(r: int, samples: int) -> float:
    """The standard error of m_4 / m_2^2 - 3 from so many independent entries (delta method).

    The moments are E[z^2k] = (2k - 1)!! E[Q^k] / r^k: 1, m4, m6 and m8.
    """
    m4 = 3 * (r + 2) / r
    m6 = 5 * m4 * (r + 4) / r
    m8 = 7 * m6 * (r + 6) / r
    variance = m8 - m4**2 + 4 * m4**2 * (m4 - 1) - 4 * m4 * (m6 - m4)
    return float(np.sqrt(variance / samples))


@partial(jax.jit, static_argnums=(0, 1))
def _entries(how: LowRank, draws: Draws, key: Key) -> Float[Array, "K P"]:
    params = {"w": jnp.zeros(SHAPE)}
    pairs = jnp.arange(draws.pairs)

    def alone(noise: noises.Factors) -> Array:
        return how.weighted_sum(jax.tree.map(lambda x: x[None], noise), jnp.ones(1)).ravel()

    def generation(epoch: Array) -> Array:
        noise = noises.draw(how, NOISE_TYPE, key, params, epoch, pairs)["w"]
        return jnp.asarray(jax.vmap(alone)(noise)[pairs, pairs % math.prod(SHAPE)])

    return jnp.asarray(jax.lax.map(generation, jnp.arange(draws.generations)))


def entries(r: int, draws: Draws, seed: int) -> Floats:
    """Independent entries of E, one of each pair's matrix: (generations * pairs,)."""
    return np.asarray(_entries(LowRank(r), draws, jax.random.key(seed)), np.float64).ravel()


def probabilities(r: int, edges: Floats) -> Floats:
    """Of each bin between symmetric edges, 0 among them, by quadrature, and of both ends outside.

    Returns:
        (edges + 1,), from left to right; their sum is 1.
    """
    right = edges[edges >= 0]
    half = [
        quad(lambda z: float(density(np.array(z), r)), low, high)[0]
        for low, high in itertools.pairwise(right)
    ]
    half.append(0.5 - sum(half))
    return np.array(half[::-1] + half)


def _held_against(z: Floats, r: int) -> dict[str, Any]:
    """The entries beside the closed form."""
    edges = np.linspace(-RANGE, RANGE, BINS + 1)
    counts = np.bincount(np.searchsorted(edges, z), minlength=BINS + 2)
    fit = stats.chisquare(counts, len(z) * probabilities(r, edges))
    return {
        "counts": counts[1:-1].tolist(),
        "chi_square": float(fit.statistic),
        "p_value": float(fit.pvalue),
        "excess_kurtosis": float(stats.kurtosis(z)),
        "kurtosis_error": kurtosis_error(r, len(z)),
    }


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Densities, their distance to the limit's, and how the harness's draws are spread.

    Args:
        params: `ranks`, `generations`, `pairs` (in each), `seed`.

    Returns:
        `values`: `z`, `limit` (of phi(z) z), `edges` of bins, `samples` a rank, and `ranks` by
        rank: `curve` (p_r(z) z), `distance` (its largest difference to the limit), `counts` in the
        bins, `chi_square` (with both ends outside) and its `p_value`, and `excess_kurtosis` with
        its standard error `kurtosis_error`.
    """
    z = np.linspace(RANGE / 120, RANGE, PLACES // 2)
    draws = Draws(params["generations"], params["pairs"])
    found = {
        str(r): {"curve": (density(z, r) * z).tolist(), "distance": distance_to_normal(r)}
        | _held_against(entries(r, draws, params["seed"]), r)
        for r in params["ranks"]
    }
    return {
        "samples": {},
        "values": {
            "z": z.tolist(),
            "limit": (stats.norm.pdf(z) * z).tolist(),
            "edges": np.linspace(-RANGE, RANGE, BINS + 1).tolist(),
            "samples": draws.generations * draws.pairs,
            "ranks": found,
        },
    }
