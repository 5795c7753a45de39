"""Names for what flows through the engine. In shapes: L lanes (episodes played in lockstep),
B blocks of lanes, P mirrored pairs of an ES population, R perturbation rank, D observation size.
"""

from typing import Any

from jaxtyping import Array, Float, Int
from jaxtyping import Key as KeyArray

Key = KeyArray[Array, ""]
"""One typed threefry key (`jax.random.key`)."""

Obs = Float[Array, " D"] | Int[Array, ""]
Action = Float[Array, " A"] | Int[Array, ""]
Params = dict[str, Any]
"""A policy's weights, a pytree of float32 arrays."""

Metrics = dict[str, Array]
"""Scalars that one update reports."""
