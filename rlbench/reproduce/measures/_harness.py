"""Gradient estimates by the code that trains: its draws, what its forward pass sees, its sum."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rlbench.agents import _perturbation as noises
from rlbench.reproduce.measures._numbers import Floats
from rlbench.types import Key

NOISE_TYPE: noises.NoiseType = "float16"
"""As the agents have it unless told otherwise."""
Fitness = Callable[[Float[Array, "P out in"]], Float[Array, " P"]]
"""Of perturbations sigma E: f(M + sigma E), one a member."""


class Draws(NamedTuple):
    """How much is drawn: so many pairs in each of so many generations."""

    generations: int
    pairs: int


def units(pairs: int, into: int) -> Float[Array, "P in in"]:
    """The unit vectors as inputs, a copy for every pair as in a rollout.

    To be made outside of a compiled function: one copy that is broadcast within it is what jaxlib
    0.10.2, without `meter.CPU_OPTIONS`, computes `product` of wrongly on a CPU.
    """
    return jnp.asarray(np.broadcast_to(np.eye(into, dtype=np.float32), (pairs, into, into)))


def seen(
    how: noises.Perturbation, noise: noises.Noise, inputs: Float[Array, "P in in"], scale: float
) -> Float[Array, "P out in"]:
    """Scale E of every pair, as a forward pass of the unit vectors sees it."""
    by = jnp.full((*inputs.shape[:2], 1), scale)
    return jnp.asarray(how.product(noise, inputs, by).swapaxes(1, 2))


@partial(jax.jit, static_argnums=(0, 1, 2, 4))
def _gradients(
    how: noises.Perturbation,
    shape: tuple[int, int],
    fitness: Fitness,
    sigma: float,
    draws: Draws,
    key: Key,
    inputs: Float[Array, "P in in"],
) -> Float[Array, "K out in"]:
    params = {"w": jnp.zeros(shape)}

    def generation(epoch: Array) -> Array:
        noise = noises.draw(how, NOISE_TYPE, key, params, epoch, jnp.arange(draws.pairs))
        above, below = (fitness(seen(how, noise["w"], inputs, s * sigma)) for s in (1.0, -1.0))
        weights = (above - below) / (2 * draws.pairs * sigma)
        return jnp.asarray(noises.weighted_sum(how, params, noise, weights)["w"])

    return jnp.asarray(jax.lax.map(generation, jnp.arange(draws.generations)))


def gradients(
    how: noises.Perturbation,
    shape: tuple[int, int],
    fitness: Fitness,
    sigma: float,
    draws: Draws,
    seed: int,
) -> Floats:
    """Estimates (1 / N sigma) sum of f(M + sigma E) E over mirrored pairs, a generation each.

    Args:
        how: the noise of OpenES or of EGGROLL.
        shape: (out, in) of the matrix that is perturbed.
        fitness: of a batch of perturbations; the same function gives the same compiled program.
        sigma: of the perturbation.
        draws: how many.
        seed: of the draws.

    Returns:
        (generations, out, in): independent, as generations are.
    """
    inputs = units(draws.pairs, shape[1])
    key = jax.random.key(seed)
    found = _gradients(how, shape, fitness, sigma, draws, key, inputs)
    return np.asarray(found, np.float64)
