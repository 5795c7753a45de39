"""The ES a user would write first: every member's weights are built, and the network is vmapped.

Mirrored Gaussian noise of full rank, all members in lockstep until the last episode has ended,
rewards of ended episodes masked, z-scored fitness, Adam.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from rlbench.algorithm import Task
from rlbench.seeding import Streams
from rlbench.types import Key, Params


class NaiveState(NamedTuple):
    """Between two generations."""

    params: Params
    optimizer: Any
    key: Key


Step = Callable[[NaiveState], tuple[NaiveState, dict[str, Array]]]


def draw(key: Key, params: Params, pairs: int) -> Params:
    """Standard normal noise: every leaf as (pairs, *shape)."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    noise = [jax.random.normal(k, (pairs, *x.shape)) for k, x in zip(keys, leaves, strict=True)]
    drawn: Params = jax.tree.unflatten(structure, noise)
    return drawn


def rollouts(task: Task, members: Params, keys: Array, horizon: int) -> tuple[Array, Array]:
    """One episode a member, all in lockstep.

    Args:
        task: environment and network.
        members: every leaf with a leading axis of N members.
        keys: (N,) of the episodes.
        horizon: env steps after which an episode is cut.

    Returns:
        (returns, lengths), (N,) each.
    """
    reset_keys, step_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    env_state, obs = jax.vmap(task.env.reset)(reset_keys)
    zeros = jnp.zeros(keys.shape[0])

    def step(carry: Any) -> Any:
        t, env_state, obs, alive, returns, lengths = carry
        action = task.policy.mode(jax.vmap(task.policy.apply)(members, obs))
        now_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(step_keys, t)
        env_state, now = jax.vmap(task.env.step)(now_keys, env_state, action)
        returns = returns + jnp.where(alive, now.reward, 0.0)
        lengths = lengths + alive
        alive = alive & ~(now.terminated | now.truncated)
        return t + 1, env_state, now.obs, alive, returns, lengths

    start = (0, env_state, obs, zeros == 0.0, zeros, zeros.astype(jnp.int32))
    end = jax.lax.while_loop(lambda carry: (carry[0] < horizon) & jnp.any(carry[3]), step, start)
    return end[4], end[5]


def generation(
    task: Task, pop_size: int, sigma: float, learning_rate: float, horizon: int
) -> tuple[Callable[[Streams], NaiveState], Step]:
    """The ES as pure functions (init, step).

    Args:
        task: environment and network; its blocks are not used.
        pop_size: members, an even number.
        sigma: scale of the noise.
        learning_rate: Adam's.
        horizon: env steps after which an episode is cut.
    """
    optimizer = optax.adam(learning_rate)

    def init(keys: Streams) -> NaiveState:
        params = task.policy.init(keys.init)
        return NaiveState(params, optimizer.init(params), keys.train)

    def step(state: NaiveState) -> tuple[NaiveState, dict[str, Array]]:
        key, noise_key, play_key = jax.random.split(state.key, 3)
        noise = draw(noise_key, state.params, pop_size // 2)
        noise = jax.tree.map(lambda e: jnp.concatenate([e, -e]), noise)
        members = jax.tree.map(lambda p, e: p + sigma * e, state.params, noise)
        keys = jax.random.split(play_key, pop_size)
        returns, lengths = rollouts(task, members, keys, horizon)
        weights = (returns - jnp.mean(returns)) / (jnp.std(returns) + 1e-8)
        descent = jax.tree.map(
            lambda e: -jnp.tensordot(weights, e, axes=1) / (pop_size * sigma), noise
        )
        updates, moments = optimizer.update(descent, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"live_env_steps": jnp.sum(lengths), "longest": jnp.max(lengths)}
        return NaiveState(params, moments, key), metrics

    return init, step
