"""What actor-critics learn from: advantages of steps, and rewards in a scale of their own.

Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation",
https://arxiv.org/abs/1506.02438
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlbench.normalizer import Moments, merge, moments_of, no_moments


def estimate_advantages(
    reward: Float[Array, "T L"],
    values: tuple[Float[Array, "T L"], Float[Array, "T L"]],
    ends: tuple[Bool[Array, "T L"], Bool[Array, "T L"]],
    gamma: float,
    gae_lambda: float,
) -> Float[Array, "T L"]:
    """GAE(gamma, lambda): sums of TD errors that stop where an episode does.

    A terminated step has no future; a truncated one has that of its true next observation.

    Args:
        reward: of each step.
        values: V of what a step's action was chosen by, and of the step's true next observation.
        ends: whether a step terminated its episode, and whether it reached the time limit.
        gamma: discount.
        gae_lambda: 1 is Monte Carlo, 0 one-step.
    """
    (value, next_value), (terminated, truncated) = values, ends
    future = jnp.where(terminated, 0.0, next_value)
    errors = reward + gamma * future - value

    def back(after: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        error, ended = step
        here = error + gamma * gae_lambda * jnp.where(ended, 0.0, after)
        return here, here

    steps = (errors, terminated | truncated)
    out: Array = jax.lax.scan(back, jnp.zeros_like(value[0]), steps, reverse=True)[1]
    return out


class RewardScale(NamedTuple):
    """Running spread of discounted returns, and each lane's discounted return so far."""

    moments: Moments
    discounted: Float[Array, " L"]


def no_rewards(lanes: int) -> RewardScale:
    """Nothing seen yet."""
    return RewardScale(no_moments(1), jnp.zeros(lanes))


def scale_rewards(
    scale: RewardScale, reward: Float[Array, "T L"], ended: Bool[Array, "T L"], gamma: float
) -> tuple[RewardScale, Float[Array, "T L"]]:
    """Rewards in units of the standard deviation of discounted returns, these ones included."""

    def on(total: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        total = gamma * total + step[0]
        return jnp.where(step[1], 0.0, total), total

    last, totals = jax.lax.scan(on, scale.discounted, (reward, ended))
    moments = merge(scale.moments, moments_of(totals[..., None]))
    variance = moments.m2[0] / moments.n
    return RewardScale(moments, last), reward * jax.lax.rsqrt(jnp.maximum(variance, 1e-8))
