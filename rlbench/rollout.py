"""Complete episodes. An environment is stepped here and in `rlbench.segments`, and nowhere else.

Items wait in a queue (a member of a population and its start states, say) and play in slots of one
or more lanes, which are stepped together. Where the episodes of an eighth of the slots have ended,
the next items take these slots: no lane waits for the longest episode of its block. What an item
plays depends on the item alone, never on its slot or on who else plays, so returns do not depend on
the schedule. There is no auto-reset, which would compute a whole reset every step under vmap: all
start states are computed beforehand, at once.

Steps of lanes without a running episode are *simulated* but not *live*: physics was computed and
paid for. Such a lane may turn NaN (Brax's generalized backend does), so masks are `jnp.where`,
never `*`. NaN or infinity that a running episode's policy acts on is not masked: it is in the
moments of the observations, or, where none are kept, the episode's return is NaN.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rlbench.env import AnyEnv, Discrete
from rlbench.normalizer import Moments
from rlbench.types import Metrics

SlotPolicy = Callable[[Any, Array, Array], Array]
"""What `load` gave for the C slots, (C, S, D) observations and (C, S) keys to (C, S, A) actions, or
(C, S) integers."""


class Episodes(NamedTuple):
    """What a queue of items did; one episode a lane, cut at the horizon.

    Attributes:
        returns: undiscounted sums of rewards.
        lengths: env steps while alive.
        simulated: env steps computed for the whole queue, those of idle lanes included.
        moments: of the observations the policy acted on while alive.
    """

    returns: Float[Array, "M S"]
    lengths: Int[Array, "M S"]
    simulated: Int[Array, ""]
    moments: Moments


class Playing(NamedTuple):
    """What a step changes, with leading axis L = C x S; all but `state` is zero where no episode
    has begun.
    """

    state: Any
    obs: Array
    alive: Array
    lengths: Array
    returns: Array
    obs_sum: Array
    obs_square_sum: Array


class _Record(NamedTuple):
    """What is kept of an episode that has ended, with leading axis M x S."""

    lengths: Array
    returns: Array
    obs_sum: Array
    obs_square_sum: Array


class _Queue(NamedTuple):
    lanes: Playing
    item: Array
    next: Array
    steps: Array
    record: _Record


def play(
    env: AnyEnv,
    act: SlotPolicy,
    keys: Key[Array, "M S"],
    *,
    horizon: int,
    slots: int,
    refill_at: int | Array,
    load: Callable[[Int[Array, " C"]], Any] = lambda items: (),
    reference: Array | None = None,
) -> Episodes:
    """Plays every item's S episodes.

    Args:
        env: the task.
        act: the policy, batched over slots and lanes.
        keys: one key a lane of every item; lanes with equal keys see the same resets and the same
            noise.
        horizon: env steps after which an episode is cut, if it has not ended by itself.
        slots: C, the items that play together (fewer if there are fewer).
        refill_at: how many slots must be free before items move in; C is lockstep.
        load: what `act` needs to know of the items in the slots, as a pytree with leading axis C.
        reference: (D,) shift for the observation moments, near their mean for accuracy. None
            (and any integer observation) leaves the moments empty.

    Returns:
        The episodes, in the order of the items.
    """
    items, per_item = keys.shape
    slots = min(slots, items)
    reset_keys, step_keys = jax.vmap(jax.random.split, out_axes=1)(keys.reshape(-1))
    state, obs = jax.vmap(env.reset)(reset_keys)
    shift = shift_of(env, reference, obs)
    start = begin(state, obs, shift)

    def round_of_play(q: _Queue) -> _Queue:
        q, lane = _refill(q, start, slots, per_item, items)
        member, mine = load(jnp.minimum(q.item, items - 1)), step_keys[lane]
        limit = jnp.where(q.next < items, refill_at, slots)

        def going_on(c: tuple[Playing, Array]) -> Array:
            return jnp.sum(_free(c[0].alive, slots)) < limit

        def step(c: tuple[Playing, Array]) -> tuple[Playing, Array]:
            return step_lanes(env, act, horizon, shift, slots, member, mine, c[0]), c[1] + 1

        lanes, steps = jax.lax.while_loop(going_on, step, (q.lanes, q.steps))
        ended = jnp.where(_free(lanes.alive, slots), q.item, items)
        return _Queue(lanes, q.item, q.next, steps, _keep(q.record, lanes, ended, per_item))

    end = jax.lax.while_loop(
        lambda q: (q.next < items) | jnp.any(q.lanes.alive),
        round_of_play,
        _nobody_plays(start, slots, per_item, items),
    )
    shape = (items, per_item)
    return Episodes(
        returns=end.record.returns.reshape(shape),
        lengths=end.record.lengths.reshape(shape),
        simulated=end.steps * (slots * per_item),
        moments=moments_of_lanes(end.record, shift),
    )


def _free(alive: Bool[Array, " L"], slots: int) -> Bool[Array, " C"]:
    return ~jnp.any(alive.reshape(slots, -1), axis=1)


def shift_of(env: AnyEnv, reference: Array | None, obs: Array) -> Array:
    """The reference; or, before anything was seen, the mean of what is seen first. (0,) where there
    are no moments to keep.

    A reference of zero would let sums of squares of a feature far from it cancel.
    """
    if reference is None or isinstance(env.spec.observation, Discrete):
        return jnp.zeros(0)
    return jnp.where(jnp.any(reference != 0.0), reference, jnp.mean(obs, axis=0))


def _nobody_plays(start: Playing, slots: int, per_item: int, items: int) -> _Queue:
    lanes = jax.tree.map(lambda x: x[: slots * per_item], start)
    zero = jnp.zeros((), jnp.int32)
    return _Queue(
        lanes=lanes._replace(alive=jnp.zeros(slots * per_item, bool)),
        item=jnp.full(slots, items, jnp.int32),
        next=zero,
        steps=zero,
        record=_Record(start.lengths, start.returns, start.obs_sum, start.obs_square_sum),
    )


def begin(state: Any, obs: Array, shift: Array) -> Playing:
    """Every lane alive, nothing played yet."""
    lanes = obs.shape[0]
    return Playing(
        state=state,
        obs=obs,
        alive=jnp.ones(lanes, bool),
        lengths=jnp.zeros(lanes, jnp.int32),
        returns=jnp.zeros(lanes),
        obs_sum=jnp.zeros((lanes, shift.shape[0])),
        obs_square_sum=jnp.zeros((lanes, shift.shape[0])),
    )


def _refill(
    q: _Queue, start: Playing, slots: int, per_item: int, items: int
) -> tuple[_Queue, Int[Array, " L"]]:
    """Moves the next items into the free slots; also which lane of the queue each lane now plays.

    Slots for which nothing is left get the number past the last item.
    """
    free = _free(q.lanes.alive, slots)
    item = jnp.where(free, q.next + jnp.cumsum(free) - 1, q.item)
    item = jnp.minimum(item, items).astype(jnp.int32)
    fresh = jnp.repeat(free & (item < items), per_item)
    lane = (jnp.minimum(item, items - 1)[:, None] * per_item + jnp.arange(per_item)).reshape(-1)

    def move_in(new: Array, old: Array) -> Array:
        return jnp.where(fresh.reshape(-1, *[1] * (new.ndim - 1)), new[lane], old)

    lanes = jax.tree.map(move_in, start, q.lanes)
    after = jnp.minimum(q.next + jnp.sum(free), items).astype(jnp.int32)
    return q._replace(lanes=lanes, item=item, next=after), lane


def step_lanes(
    env: AnyEnv,
    act: SlotPolicy,
    horizon: int | Array,
    shift: Array,
    slots: int,
    member: Any,
    keys: Array,
    c: Playing,
) -> Playing:
    """One env step of every lane; `horizon` may be each lane's own."""
    fold = jax.vmap(jax.random.fold_in)

    def by_slot(x: Array) -> Array:
        return x.reshape(slots, -1, *x.shape[1:])

    action = act(member, by_slot(c.obs), by_slot(fold(keys, 2 * c.lengths)))
    action = action.reshape(-1, *action.shape[2:])
    state, now = jax.vmap(env.step)(fold(keys, 2 * c.lengths + 1), c.state, action)
    lengths = c.lengths + c.alive
    tracked = c.obs if shift.shape[0] else jnp.zeros((c.alive.shape[0], 0))
    centred = jnp.where(c.alive[:, None], tracked - shift, 0.0)
    reward = now.reward if shift.shape[0] else _unless_blind(now.reward, c.obs)
    return Playing(
        state=state,
        obs=now.obs,
        alive=c.alive & ~(now.terminated | now.truncated) & (lengths < horizon),
        lengths=lengths,
        returns=c.returns + jnp.where(c.alive, reward, 0.0),
        obs_sum=c.obs_sum + centred,
        obs_square_sum=c.obs_square_sum + centred * centred,
    )


def _unless_blind(reward: Float[Array, " L"], obs: Array) -> Float[Array, " L"]:
    """The reward; NaN where what was acted on is not finite, and nothing else would tell."""
    if not jnp.issubdtype(obs.dtype, jnp.floating):
        return reward
    return jnp.where(jnp.all(jnp.isfinite(obs), axis=-1), reward, jnp.nan)


def _keep(record: _Record, lanes: Playing, ended: Array, per_item: int) -> _Record:
    """Writes down the lanes of these items; numbers past the last item are dropped."""
    where = (ended[:, None] * per_item + jnp.arange(per_item)).reshape(-1)
    found = _Record(lanes.lengths, lanes.returns, lanes.obs_sum, lanes.obs_square_sum)
    kept: _Record = jax.tree.map(lambda all, x: all.at[where].set(x, mode="drop"), record, found)
    return kept


def moments_of_lanes(record: _Record | Playing, shift: Array) -> Moments:
    """Summed over episodes in the order of the items, whatever the order they were played in."""
    if not shift.shape[0]:
        return Moments(jnp.zeros(()), jnp.zeros(1), jnp.zeros(1))
    n = jnp.sum(record.lengths).astype(jnp.float32)
    mean = jnp.sum(record.obs_sum, axis=0) / jnp.maximum(n, 1.0)
    squares = jnp.sum(record.obs_square_sum, axis=0)
    return Moments(n, shift + mean, jnp.maximum(squares - n * mean * mean, 0.0))


def step_metrics(episodes: Episodes) -> Metrics:
    """Simulated and live env steps by queue, as every update must report them.

    By queue because the sum over a large population can pass 32 bits: the engine adds them up.
    """
    live = jnp.sum(episodes.lengths.reshape(episodes.simulated.size, -1), axis=1)
    return {"simulated_env_steps": episodes.simulated.reshape(-1), "live_env_steps": live}
