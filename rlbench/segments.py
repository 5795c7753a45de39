"""Segments of episodes: lanes that play on from update to update, so many steps at a time.

What an actor-critic learns from is `collect`: a lane whose episode has ended starts a fresh one, so
that every simulated step is live. What a persistent evolution strategy learns from is `play_on`: a
fresh episode waits for the next update. (Other evolution strategies: `rlbench.rollout`.) There is
no auto-reset: a step's true next observation is kept, and resets are computed for the lanes that
need one, a few at a time, instead of for every lane at every step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rlbench.env import AnyEnv
from rlbench.rollout import (
    Episodes,
    Playing,
    SlotPolicy,
    begin,
    moments_of_lanes,
    shift_of,
    step_lanes,
)

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


def play_on(
    env: AnyEnv,
    act: SlotPolicy,
    begun: tuple[Any, Array],
    keys: tuple[Key[Array, "C S"], Key[Array, "C S"]],
    *,
    steps: int,
    left: Int[Array, " L"],
    member: Any = (),
    reference: Array | None = None,
) -> tuple[tuple[Any, Array], Bool[Array, " L"], Episodes]:
    """Plays episodes in progress on, for so many steps or to their end.

    A lane whose episode has ended idles; it is at a fresh start when all have been played.

    Args:
        env: the task.
        act: the policy, batched over C slots of S lanes.
        begun: states and observations of the L = C x S lanes.
        keys: of this segment, and of the next: lanes with equal keys see the same noise, and the
            same start. Given the first's keys too, `rlbench.rollout.play` plays the same episode.
        steps: T.
        left: env steps after which each lane's episode is cut, if it has not ended by itself.
        member: what `act` needs to know of the slots.
        reference: (D,) shift for the observation moments, as for `play`.

    Returns:
        States and observations of the lanes; which episodes have ended; and rewards, live steps and
        moments of this segment, as (C, S).
    """
    slots, per_slot = keys[0].shape
    noise, fresh = _halves(keys[0])[1], _halves(keys[1])[0]
    shift = shift_of(env, reference, begun[1])

    def going_on(c: tuple[Playing, Array]) -> Array:
        return jnp.any(c[0].alive) & (c[1] < steps)

    def step(c: tuple[Playing, Array]) -> tuple[Playing, Array]:
        return step_lanes(env, act, left, shift, slots, member, noise, c[0]), c[1] + 1

    first = (begin(*begun, shift), jnp.zeros((), jnp.int32))
    end, played = jax.lax.while_loop(going_on, step, first)
    episodes = Episodes(
        returns=end.returns.reshape(slots, per_slot),
        lengths=end.lengths.reshape(slots, per_slot),
        simulated=played * (slots * per_slot),
        moments=moments_of_lanes(end, shift),
    )
    return _restart(env, ~end.alive, fresh, end.state, end.obs), ~end.alive, episodes


def begin_all(env: AnyEnv, keys: Key[Array, "..."]) -> tuple[Any, Array]:
    """Where `play_on` begins with these keys: states and observations of as many lanes."""
    return jax.vmap(env.reset)(_halves(keys)[0])


def _halves(keys: Key[Array, "..."]) -> tuple[Key[Array, " L"], Key[Array, " L"]]:
    """What resets and what steps are drawn from, as `rlbench.rollout.play` has it."""
    reset, step = jax.vmap(jax.random.split, out_axes=1)(keys.reshape(-1))
    return reset, step
