"""From what the members of a population scored to the weights of their perturbations."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def shape_fitness(fitness: Float[Array, " N"], rank_transform: bool) -> Float[Array, " N"]:
    """Fitness to weights: centred ranks in [-0.5, 0.5], or z-scores.

    Ties share their mean rank; otherwise a population that all scored the same would drift in the
    direction of its member numbers. The z-score's epsilon is inside the root, as in the authors'
    code.
    """
    n = fitness.shape[0]
    if rank_transform:
        ordered = jnp.sort(fitness)
        below = jnp.searchsorted(ordered, fitness, side="left")
        not_above = jnp.searchsorted(ordered, fitness, side="right")
        return (below + not_above - n) / (2.0 * (n - 1))
    # From the first member on, so that equal fitness is exactly zero and not its rounding.
    above = fitness - fitness[0]
    centred = above - jnp.mean(above)
    return centred * jax.lax.rsqrt(jnp.var(above) + 1e-5)
