"""The rank of an ES update, and learning of a matrix of full rank, by the harness's own noise.

The task is f(W) = -|W - T|^2 / 2 with T orthogonal, so that no direction is worth more than
another. Mirrored pairs estimate its gradient R = T - W as mean_p <R, E_p> E_p, exactly, as f is
quadratic. With noise of rank r and fresh pairs every generation the expected squared residual
shrinks by a factor that is known (`expected_factor`); with the same pairs for ever, what lies
outside the span of their P matrices stays: 1 - P / (m n) of it on average, as the distribution of
the span is the same in every orthogonal frame of rows and of columns.
"""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from rlbench.agents import _perturbation as noises

TOLERANCE = 1e-10
"""Singular values below this share of the largest are rounding: sums are in float64."""
CAUTION = 0.25
"""Of the step size for fresh pairs: with it, steps along the same few pairs do not diverge."""


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Ranks of updates (`what = "rank"`), or residuals after learning (`what = "learning"`).

    Args:
        params: `what`, `pairs`, `ranks`, `seeds`; `shapes` of (out, in); or `size` of the square
            matrix to learn and `budget`, in evaluated pairs.

    Returns:
        `values`: `rows`, a table each.
    """
    rows = ranks(params) if params["what"] == "rank" else learning(params)
    return {"samples": {}, "values": {"rows": rows}}


def factors(how: noises.LowRank, seed: int, shape: tuple[int, int], pairs: int) -> Any:
    """The harness's noise of so many pairs, exactly: (pairs, r, out) and (pairs, r, in)."""
    params, epoch = {"w": jnp.zeros(shape)}, jnp.zeros((), jnp.int32)
    noise = noises.draw(how, "float16", jax.random.key(seed), params, epoch, jnp.arange(pairs))
    return noise["w"]


def numerical_rank(x: npt.NDArray[np.float64]) -> int:
    """Singular values above `TOLERANCE` of the largest."""
    values = np.linalg.svd(x, compute_uv=False)
    return int((values > TOLERANCE * values[0]).sum())


def ranks(params: dict[str, Any]) -> list[dict[str, int]]:
    """A row a shape, rank, number of pairs and seed, with standard normal fitness differences."""
    rows = []
    most = max(params["pairs"])
    for m, n in params["shapes"]:
        for r in params["ranks"]:
            # A pair's noise does not depend on how many there are.
            draw = jax.jit(lambda s, r=r, m=m, n=n: factors(noises.LowRank(r), s, (m, n), most))
            for seed in range(params["seeds"]):
                a, b = (np.asarray(x, np.float64) for x in draw(seed))
                weights = np.random.default_rng(seed).standard_normal(most)
                for pairs in params["pairs"]:
                    total = np.einsum(
                        "p,pro,pri->oi", weights[:pairs], a[:pairs], b[:pairs], optimize=True
                    )
                    row = {"m": m, "n": n, "r": r, "pairs": pairs, "seed": seed}
                    rows.append(row | {"rank": numerical_rank(total)})
    return rows


def fourth_moment(m: int, n: int, r: int) -> float:
    """E <R, E>^2 |E|^2 / |R|^2: of independent entries, and the cumulant of a product over r."""
    return m * n + 2 + (2 * (m + n) + 2) / r


def step_size(m: int, n: int, r: int, pairs: int) -> float:
    """That shrinks the expected squared residual most."""
    return 1.0 / (1.0 + (fourth_moment(m, n, r) - 1.0) / pairs)


def expected_factor(m: int, n: int, r: int, pairs: int) -> float:
    """Of the squared residual, a generation of fresh pairs with the best step size."""
    return 1.0 - step_size(m, n, r, pairs)


def residual(
    target: Float[Array, "n n"],
    how: noises.LowRank,
    pairs: int,
    budget: int,
    fresh: bool,
    seed: Any,
) -> Array:
    """|T - W|^2 / |T|^2 after `budget` evaluated pairs, from W = 0."""
    n = target.shape[0]
    rate = step_size(n, n, how.rank, pairs) * (1.0 if fresh else CAUTION)
    params, root = {"w": target}, jax.random.key(seed)

    def generation(left: Array, t: Array) -> tuple[Array, None]:
        epoch = jnp.where(fresh, t, 0)
        noise = noises.draw(how, "float16", root, params, epoch, jnp.arange(pairs))
        a, b = (x.astype(jnp.float32) for x in noise["w"])
        # <R, E_p>: half the difference of a pair's fitness, over sigma.
        weights = jnp.einsum("pro,oi,pri->p", a, left, b) * how.rank**-0.5
        step = noises.weighted_sum(how, params, noise, weights / pairs)["w"]
        return left - rate * step, None

    left = jax.lax.scan(generation, target, jnp.arange(budget // pairs))[0]
    return jnp.sum(left**2) / jnp.sum(target**2)


def learning(params: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a rank, number of pairs, and fresh or reused noise: the residuals of all seeds."""
    n, budget = params["size"], params["budget"]
    target = jnp.linalg.qr(jax.random.normal(jax.random.key(99), (n, n)))[0]
    seeds = jnp.arange(params["seeds"])
    rows = []
    for r, pairs, fresh in itertools.product(params["ranks"], params["pairs"], (True, False)):
        how = noises.LowRank(r)
        one = partial(residual, target, how, pairs, budget, fresh)
        found = np.asarray(jax.jit(jax.vmap(one))(seeds), np.float64)
        kept = 1.0 - min(pairs, n * n) / (n * n)
        expected = expected_factor(n, n, r, pairs) ** (budget // pairs) if fresh else kept
        row = {"size": n, "r": r, "pairs": pairs, "fresh": fresh, "expected": expected}
        rows.append(row | {"residuals": found.tolist()})
    return rows
