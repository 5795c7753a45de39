"""Perturbations of a policy's weights, as an ES population sees them: never built, only applied.

A population of N members is N/2 mirrored pairs; the members of a pair share their noise E and see
W + sigma E and W - sigma E. `LowRank` (EGGROLL, arXiv 2511.16652) draws E = A B^T / sqrt(r) for a
matrix, so that (W + sigma E) x = W x + (sigma / sqrt(r)) A (B^T x); `FullRank` (OpenES, Salimans et
al. 2017, arXiv 1703.03864) draws all of E. Both give 1-D parameters full Gaussian noise.

Noise is rebuilt from counters: the key of a leaf and a pair is
fold_in(fold_in(fold_in(root, leaf), generation // noise_reuse), pair).

Shapes: P pairs, S lanes a pair (first half +, second half -), R rank.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rlbench.policy import Linear, VectorHook
from rlbench.types import Key, Params

Noise = Any
"""A pytree like the parameters, with `Factors` or (P, out, in) for (out, in) matrices and (P, n)
for (n,) vectors."""


class Factors(NamedTuple):
    """E = a b^T, with 1/sqrt(R) already in `a`."""

    a: Float[Array, "*P out R"]
    b: Float[Array, "*P in R"]


class Perturbation(Protocol):
    """How noise is drawn for a matrix, seen by a forward pass, and summed."""

    def draw_matrix(self, key: Key, shape: tuple[int, int]) -> Any:
        """One pair's noise for an (out, in) matrix."""
        ...

    def product(self, noise: Any, x: Float[Array, "P S in"]) -> Float[Array, "P S out"]:
        """E x for every lane's own pair."""
        ...

    def weighted_sum(self, noise: Any, weights: Float[Array, " P"]) -> Float[Array, "out in"]:
        """sum_p weights_p E_p, as one contraction."""
        ...


@dataclass(frozen=True)
class LowRank:
    """E = A B^T / sqrt(rank) with standard normal factors."""

    rank: int

    def draw_matrix(self, key: Key, shape: tuple[int, int]) -> Factors:
        """One draw of (out + in, R) numbers, split into the factors."""
        both = jax.random.normal(key, (sum(shape), self.rank))
        return Factors(both[: shape[0]] * self.rank**-0.5, both[shape[0] :])

    def product(self, noise: Factors, x: Float[Array, "P S in"]) -> Float[Array, "P S out"]:
        """Unrolled over the rank: XLA fuses these; a batched matrix product it does not."""
        terms = [
            jnp.sum(x * noise.b[:, None, :, r], axis=-1, keepdims=True) * noise.a[:, None, :, r]
            for r in range(self.rank)
        ]
        return sum(terms[1:], terms[0])

    def weighted_sum(self, noise: Factors, weights: Float[Array, " P"]) -> Float[Array, "out in"]:
        """(diag(w) A)^T B."""
        return jnp.einsum("por,pir->oi", noise.a * weights[:, None, None], noise.b)


@dataclass(frozen=True)
class FullRank:
    """E with independent standard normal entries."""

    def draw_matrix(self, key: Key, shape: tuple[int, int]) -> Float[Array, "out in"]:
        """All of one pair's matrix."""
        return jax.random.normal(key, shape)

    def product(
        self, noise: Float[Array, "P out in"], x: Float[Array, "P S in"]
    ) -> Float[Array, "P S out"]:
        """Both members of a pair (and all their episodes) share one read of the matrix."""
        return jnp.einsum("psi,poi->pso", x, noise)

    def weighted_sum(
        self, noise: Float[Array, "P out in"], weights: Float[Array, " P"]
    ) -> Float[Array, "out in"]:
        """One matrix-vector product over the pairs."""
        return jnp.einsum("p,poi->oi", weights, noise)


def draw(
    how: Perturbation, root: Key, params: Params, epoch: Int[Array, ""], pairs: Int[Array, " P"]
) -> Noise:
    """The noise of these pairs. `epoch` is generation // noise_reuse (0 for ever if reuse is 0)."""
    leaves, treedef = jax.tree.flatten(params)

    def one(pair: Array) -> Noise:
        keys = [
            jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(root, i), epoch), pair)
            for i in range(len(leaves))
        ]
        noise = [
            how.draw_matrix(k, x.shape) if x.ndim == 2 else jax.random.normal(k, x.shape)
            for k, x in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(treedef, noise)

    noise: Noise = jax.vmap(one)(pairs)
    return noise


def signs(lanes_per_pair: int) -> Float[Array, "S 1"]:
    """+1 for the first half of a pair's lanes, -1 for the second."""
    return jnp.where(jnp.arange(lanes_per_pair) < lanes_per_pair // 2, 1.0, -1.0)[:, None]


def linear(how: Perturbation, noise: Noise, sigma: Float[Array, ""]) -> Linear:
    """The `linear` hook under which lane (p, s) sees W +- sigma E_p; x is (P, S, in)."""

    def hook(layer: int, w: Array, b: Array, x: Array, /) -> Array:
        mine = noise["layers"][layer]
        lanes, pairs = x.shape[1], x.shape[0]
        # One GEMM for the whole block, whatever its pairs.
        mean = (x.reshape(pairs * lanes, -1) @ w.T).reshape(pairs, lanes, -1) + b
        shift = how.product(mine["w"], x) + mine["b"][:, None, :]
        return jnp.asarray(mean + (sigma * signs(lanes)) * shift)

    return hook


def vector(noise: Noise, sigma: Float[Array, ""], lanes_per_pair: int) -> VectorHook:
    """The `vector` hook: (n,) to (P, S, n)."""

    def hook(name: str, v: Array, /) -> Array:
        return jnp.asarray(v + (sigma * signs(lanes_per_pair)) * noise[name][:, None, :])

    return hook


def weighted_sum(
    how: Perturbation, params: Params, noise: Noise, weights: Float[Array, " P"]
) -> Params:
    """sum_p weights_p E_p for every parameter."""

    def leaf(x: Array, e: Any) -> Array:
        return how.weighted_sum(e, weights) if x.ndim == 2 else weights @ e

    total: Params = jax.tree.map(leaf, params, noise)
    return total
