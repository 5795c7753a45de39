"""Perturbations of a policy's weights, as an ES population sees them: never built, only applied.

A population of N members is N/2 mirrored pairs; the members of a pair share their noise E and see
W + sigma E and W - sigma E. `LowRank` (EGGROLL, arXiv 2511.16652) draws E = A B^T / sqrt(r) for a
matrix, so that (W + sigma E) x = W x + (sigma / sqrt(r)) A (B^T x); `FullRank` (OpenES, Salimans et
al. 2017, arXiv 1703.03864) draws all of E. Both give 1-D parameters full Gaussian noise.

Noise is rebuilt from counters: the key of a leaf and a pair is
fold_in(fold_in(fold_in(root, leaf), generation // noise_reuse), pair).

It is stored in half precision (11 significant bits) unless told otherwise: reading it is what
perturbing costs. The policies that play and the estimate see the same rounded numbers.

Shapes: P pairs; C slots of S lanes, each slot playing members of one pair; R rank.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Float, Int

from rlbench.policy import Linear, VectorHook
from rlbench.types import Key, Params

Noise = Any
"""A pytree like the parameters, with `Factors` or (P, in, out) for (out, in) matrices and (P, n)
for (n,) vectors."""
NoiseType = Literal["float16", "float32"]
CACHED_BYTES = 1 << 20
"""Full-rank noise of a layer up to this size stays in a core's cache."""


class Factors(NamedTuple):
    """E = a^T b / sqrt(R)."""

    a: Float[Array, "*P R out"]
    b: Float[Array, "*P R in"]


class Perturbation(Protocol):
    """How noise is drawn for a matrix, seen by a forward pass, and summed."""

    @property
    def shared(self) -> bool:
        """Whether a pair's lanes should play in one slot, because they then share a read."""
        ...

    def draw_matrix(self, key: Key, shape: tuple[int, int]) -> Any:
        """One pair's noise for an (out, in) matrix."""
        ...

    def product(
        self, noise: Any, x: Float[Array, "C S in"], scale: Float[Array, "C S 1"]
    ) -> Float[Array, "C S out"]:
        """Scale E x for every lane's own pair."""
        ...

    def weighted_sum(self, noise: Any, weights: Float[Array, " P"]) -> Float[Array, "out in"]:
        """sum_p weights_p E_p, as one contraction."""
        ...


CHUNK = 32
"""Partial sums of a dot product on a CPU."""


def _wide(x: Array) -> Array:
    return x.astype(jnp.float32)


def dot(x: Float[Array, "*#L n"], y: Float[Array, "*#L n"]) -> Float[Array, "*#L 1"]:
    """Sums of x y over the last axis; y may be narrower numbers.

    XLA's CPU compiler adds a row's products up one after the other, each waiting for the last; at
    rank 4 that took a third of a forward pass. So long rows are added in CHUNK partial sums, side
    by side, and the barrier keeps these from being merged with the last few additions.
    """
    n = x.shape[-1]
    if n < 2 * CHUNK or jax.default_backend() != "cpu":
        return jnp.sum(x * _wide(y), axis=-1, keepdims=True)
    parts = [x[..., k : k + CHUNK] * _wide(y[..., k : k + CHUNK]) for k in range(0, n, CHUNK)]
    rest = parts.pop() if n % CHUNK else jnp.zeros(1)
    whole = jax.lax.optimization_barrier(sum(parts[1:], parts[0]))
    return jnp.sum(whole, -1, keepdims=True) + jnp.sum(rest, -1, keepdims=True)


def normal(key: Key, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Standard normal numbers, twice as fast as `jax.random.normal` makes them.

    A call of threefry gives two words, of which jax's default keeps one, so that any part of an
    array can be drawn where it is needed. A pair's noise is drawn whole: here both are used, as jax
    does with `jax_threefry_partitionable` off, to the same bits.
    """
    data = jax.random.key_data(key)
    words = threefry_2x32((data[0], data[1]), jnp.arange(math.prod(shape), dtype=jnp.uint32))
    # 23 random bits of mantissa give [1, 2), and that (-1, 1).
    unit = jax.lax.bitcast_convert_type((words >> 9) | jnp.uint32(0x3F800000), jnp.float32) - 1.0
    low = jnp.nextafter(jnp.float32(-1.0), jnp.float32(0.0))
    uniform = jnp.maximum(low, unit * (1.0 - low) + low)
    return (jnp.sqrt(jnp.float32(2.0)) * jax.lax.erf_inv(uniform)).reshape(shape)


@dataclass(frozen=True)
class LowRank:
    """E = A B^T / sqrt(rank) with standard normal factors."""

    rank: int
    shared = False

    def draw_matrix(self, key: Key, shape: tuple[int, int]) -> Factors:
        """One draw of (R, out + in) numbers, split into the factors."""
        both = normal(key, (self.rank, sum(shape)))
        return Factors(both[:, : shape[0]], both[:, shape[0] :])

    def product(
        self, noise: Factors, x: Float[Array, "C S in"], scale: Float[Array, "C S 1"]
    ) -> Float[Array, "C S out"]:
        """Unrolled over the rank: XLA fuses these; a batched matrix product it does not."""
        scale = scale * self.rank**-0.5
        terms = []
        for r in range(self.rank):
            a, b = _wide(noise.a[:, None, r]), noise.b[:, None, r]
            terms.append(scale * dot(x, b) * a)
        return sum(terms[1:], terms[0])

    def weighted_sum(self, noise: Factors, weights: Float[Array, " P"]) -> Float[Array, "out in"]:
        """(diag(w) A)^T B."""
        weights = weights[:, None, None] * self.rank**-0.5
        return jnp.einsum("pro,pri->oi", weights * _wide(noise.a), _wide(noise.b))


@dataclass(frozen=True)
class FullRank:
    """E with independent standard normal entries, stored as its transpose."""

    shared = True

    def draw_matrix(self, key: Key, shape: tuple[int, int]) -> Float[Array, "i o"]:
        """All of one pair's matrix."""
        return normal(key, shape[::-1])

    def product(
        self,
        noise: Float[Array, "C i o"],
        x: Float[Array, "C S in"],
        scale: Float[Array, "C S 1"],
    ) -> Float[Array, "C S out"]:
        """Both members of a pair (and all their episodes) share one read of the matrix."""
        if 4 * noise.size <= CACHED_BYTES:
            return scale * jnp.einsum("csi,cio->cso", x, _wide(noise))
        # One slot after the other, so that each matrix is widened in the cache.
        one_by_one: Array = jax.lax.map(lambda one: one[0] @ _wide(one[1]), (x, noise))
        return scale * one_by_one

    def weighted_sum(
        self, noise: Float[Array, "P i o"], weights: Float[Array, " P"]
    ) -> Float[Array, "out in"]:
        """One pair after the other, so that no widened copy of the noise is made."""

        def add(total: Array, one: tuple[Array, Array]) -> tuple[Array, None]:
            return total + one[0] * _wide(one[1]), None

        total: Array = jax.lax.scan(add, jnp.zeros(noise.shape[1:]), (weights, noise))[0]
        return total.T


def draw(
    how: Perturbation,
    dtype: NoiseType,
    root: Key,
    params: Params,
    epoch: Int[Array, ""],
    pairs: Int[Array, " P"],
) -> Noise:
    """The noise of these pairs. `epoch` is generation // noise_reuse (0 for ever if reuse is 0)."""
    leaves, treedef = jax.tree.flatten(params)

    def one(pair: Array) -> Noise:
        keys = [
            jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(root, i), epoch), pair)
            for i in range(len(leaves))
        ]
        noise = [
            how.draw_matrix(k, x.shape) if x.ndim == 2 else normal(k, x.shape)
            for k, x in zip(keys, leaves, strict=True)
        ]
        noise = jax.tree.map(lambda e: e.astype(dtype), noise)
        return jax.tree.unflatten(treedef, noise)

    noise: Noise = jax.vmap(one)(pairs)
    return noise


def bytes_of_pair(how: Perturbation, dtype: NoiseType, init: Callable[[Key], Params]) -> int:
    """Bytes of one pair's noise, for the parameters that `init` draws."""

    def draw_one(key: Key) -> Noise:
        pair = jnp.zeros(1, jnp.int32)
        return draw(how, dtype, key, init(key), pair[0], pair)

    one = jax.eval_shape(draw_one, jax.random.key(0))
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(one))


def members(
    noise: Noise, sigma: Array, slots: Int[Array, " C"], of_pair: int, together: int
) -> tuple[Noise, Float[Array, "C S"]]:
    """Noise and scale of these slots' lanes: `of_pair` lanes a pair, the first half of them +,
    `together` a slot; the noise of all pairs, from number 0 on, is given.
    """
    lanes = slots[:, None] * together + jnp.arange(together)
    sign = jnp.where(lanes // (of_pair // 2) % 2 == 0, 1.0, -1.0)
    return jax.tree.map(lambda e: e[lanes[:, 0] // of_pair], noise), sigma * sign


def linear(how: Perturbation, noise: Noise, scale: Float[Array, "C S"]) -> Linear:
    """The `linear` hook under which lane (c, s) sees W + scale[c, s] E_c; x is (C, S, in)."""

    def hook(layer: int, w: Array, b: Array, x: Array, /) -> Array:
        mine, by = noise["layers"][layer], scale[:, :, None]
        slots, lanes = scale.shape
        # One GEMM for all lanes, whatever their pairs.
        mean = (x.reshape(slots * lanes, -1) @ w.T).reshape(slots, lanes, -1)
        shift = how.product(mine["w"], x, by) + by * _wide(mine["b"][:, None])
        return jnp.asarray(mean + b + shift)

    return hook


def vector(noise: Noise, scale: Float[Array, "C S"]) -> VectorHook:
    """The `vector` hook: (n,) to (C, S, n)."""

    def hook(name: str, v: Array, /) -> Array:
        return jnp.asarray(v + scale[:, :, None] * _wide(noise[name][:, None]))

    return hook


def weighted_sum(
    how: Perturbation, params: Params, noise: Noise, weights: Float[Array, " P"]
) -> Params:
    """sum_p weights_p E_p for every parameter."""

    def leaf(x: Array, e: Any) -> Array:
        return how.weighted_sum(e, weights) if x.ndim == 2 else weights @ _wide(e)

    total: Params = jax.tree.map(leaf, params, noise)
    return total
