"""Segments of episodes: lanes that play on from update to update, so many steps at a time.

What an actor-critic learns from, as `rlbench.rollout` is what an evolution strategy learns from. A
lane whose episode has ended starts a fresh one, so that every simulated step is live. There is no
auto-reset: a step's true next observation is kept, and resets are computed for the lanes that need
one, a few at a time, instead of for every lane at every step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rlbench.env import AnyEnv

RESETS = 8
"""Lanes that are reset together, where any is."""
ACT, STEP, RESET = range(3)
"""What a lane's key is for, within a step."""

LanePolicy = Callable[[Array, Array], tuple[Array, Any]]
"""(L, D) observations and (L,) keys to the env's actions, and what else to keep of the choice."""


class Lanes(NamedTuple):
    """Episodes in progress.

    Attributes:
        state: the environments'.
        obs: what the next action is chosen by.
        key: one a lane, the same for ever.
        steps: env steps of each lane so far, over all its episodes.
    """

    state: Any
    obs: Array
    key: Key[Array, " L"]
    steps: Int[Array, " L"]


class Segment(NamedTuple):
    """T steps of L lanes.

    Attributes:
        obs: what the action was chosen by.
        chosen: what the policy wanted kept.
        reward: of the step.
        next_obs: the step's true next observation, also where the episode ended.
        terminated: the task itself ended.
        truncated: the time limit was reached.
    """

    obs: Array
    chosen: Any
    reward: Float[Array, "T L"]
    next_obs: Array
    terminated: Bool[Array, "T L"]
    truncated: Bool[Array, "T L"]


def _key(lanes: Lanes, what: int) -> Array:
    counter = 3 * lanes.steps.astype(jnp.uint32) + what
    return jax.vmap(jax.random.fold_in)(lanes.key, counter)


def start(env: AnyEnv, keys: Key[Array, " L"]) -> Lanes:
    """Every lane at the start of an episode."""
    steps = jnp.zeros(keys.shape, jnp.int32)
    first = jax.vmap(lambda key: jax.random.fold_in(key, jnp.uint32(2**32 - 1)))(keys)
    state, obs = jax.vmap(env.reset)(first)
    return Lanes(state, obs, keys, steps)


def collect(env: AnyEnv, act: LanePolicy, lanes: Lanes, steps: int) -> tuple[Lanes, Segment]:
    """Plays so many steps of every lane.

    Args:
        env: the task.
        act: the policy, batched over lanes.
        lanes: where the episodes are.
        steps: T.

    Returns:
        Where the episodes are now, and what happened. What a lane does depends on its key only,
        not on the other lanes.
    """

    def step(lanes: Lanes, _: None) -> tuple[Lanes, Segment]:
        action, chosen = act(lanes.obs, _key(lanes, ACT))
        state, now = jax.vmap(env.step)(_key(lanes, STEP), lanes.state, action)
        went = Segment(lanes.obs, chosen, now.reward, now.obs, now.terminated, now.truncated)
        ended = now.terminated | now.truncated
        fresh = _restart(env, ended, _key(lanes, RESET), state, now.obs)
        return Lanes(*fresh, lanes.key, lanes.steps + 1), went

    after, segment = jax.lax.scan(step, lanes, None, length=steps)
    return after, segment


def _restart(env: AnyEnv, ended: Array, keys: Array, state: Any, obs: Array) -> tuple[Any, Array]:
    """Resets the lanes whose episodes have ended, `RESETS` at a time."""
    lanes = ended.shape[0]

    def some(c: tuple[Array, Any]) -> tuple[Array, Any]:
        waiting, now = c
        where = jnp.nonzero(waiting, size=min(RESETS, lanes), fill_value=lanes)[0]
        fresh = jax.vmap(env.reset)(keys[jnp.minimum(where, lanes - 1)])
        now = jax.tree.map(lambda x, new: x.at[where].set(new, mode="drop"), now, fresh)
        return waiting.at[where].set(False, mode="drop"), now

    restarted: tuple[Any, Array] = jax.lax.while_loop(
        lambda c: jnp.any(c[0]), some, (ended, (state, obs))
    )[1]
    return restarted
