"""Running mean and variance of observations (Chan et al. 1979), for `normalize_observations`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlbench.env import Discrete, Vector

CLIP = 10.0
"""Normalised observations are clipped to +- this many standard deviations."""


class Moments(NamedTuple):
    """Number, mean and sum of squared deviations of what was seen so far."""

    n: Float[Array, "..."]
    mean: Float[Array, "... D"]
    m2: Float[Array, "... D"]


def no_moments(size: int) -> Moments:
    """Nothing seen yet."""
    return Moments(jnp.zeros(()), jnp.zeros(size), jnp.zeros(size))


def no_observations(space: Vector | Discrete) -> Moments:
    """No observation of this space seen yet; integers have no moments to speak of."""
    return no_moments(1 if isinstance(space, Discrete) else space.size)


def applied(moments: Moments, space: Vector | Discrete, on: bool) -> Moments | None:
    """What observations of this space are normalised by; None if they are not."""
    return moments if on and not isinstance(space, Discrete) else None


def moments_of(x: Float[Array, "... D"]) -> Moments:
    """Of a sample, over all axes but the last."""
    rows = x.reshape(-1, x.shape[-1])
    mean = jnp.mean(rows, axis=0)
    return Moments(jnp.float32(rows.shape[0]), mean, jnp.sum((rows - mean) ** 2, axis=0))


def observed(obs: Array) -> Moments:
    """Of a sample of observations; integers have none."""
    return moments_of(obs) if jnp.issubdtype(obs.dtype, jnp.floating) else no_moments(1)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of both samples together (Chan's parallel update)."""
    count = a.n + b.n
    share = b.n / jnp.maximum(count, 1.0)
    delta = b.mean - a.mean
    return Moments(count, a.mean + delta * share, a.m2 + b.m2 + delta * delta * (a.n * share))


def merge_all(parts: Moments) -> Moments:
    """Merges along the leading axis, in its order (so the result does not depend on devices)."""
    first = jax.tree.map(lambda x: x[0], parts)
    rest = jax.tree.map(lambda x: x[1:], parts)
    whole: Moments = jax.lax.scan(lambda acc, part: (merge(acc, part), None), first, rest)[0]
    return whole


def see(moments: Moments, obs: Array, on: bool) -> Array:
    """An observation as a policy gets it; integers, and all with `on` false, stay as they are."""
    if not on or not jnp.issubdtype(obs.dtype, jnp.floating):
        return obs
    return normalize(moments, obs)


def scaling(moments: Moments) -> tuple[Float[Array, "... D"], Float[Array, "... D"]]:
    """What is subtracted and what is then multiplied: mean and 1 / std, or 0 and 1 before anything
    was seen.
    """
    seen = moments.n > 1
    variance = jnp.where(seen, moments.m2 / jnp.maximum(moments.n, 1.0), 1.0)
    # A constant feature has no spread; the floor keeps float noise in it from being blown up.
    scale = jax.lax.rsqrt(jnp.maximum(variance, 1e-6))
    return jnp.where(seen, moments.mean, 0.0), scale


def normalize(moments: Moments, obs: Float[Array, "... D"]) -> Float[Array, "... D"]:
    """(obs - mean) / std, clipped; the identity (but for the clip) before anything was seen."""
    mean, scale = scaling(moments)
    return jnp.clip((obs - mean) * scale, -CLIP, CLIP)
