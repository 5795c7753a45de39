"""Proves that what is played side by side, in whatever order slots become free, are the episodes
that each lane would play alone: same returns and lengths, cut at the horizon, never restarted, and
nothing of an idle lane (not even NaN) in any sum; that no slot waits longer than it must; and that
queues divide work evenly and keep its order.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbench.blocks import MOST_QUEUES, Blocks, largest_divisor
from rlbench.env import zero_action
from rlbench.rollout import Episodes, play, step_metrics
from tests.toy_envs import Counting, Drift, Match, quick, steps_of_queue

LANES = 16


def lane_keys(n: int = LANES) -> Any:
    return jax.random.split(jax.random.key(7), n)


def noop(env: Any) -> Any:
    action = zero_action(env.spec.action)
    return lambda _, obs, keys: jnp.broadcast_to(action, (*keys.shape, *action.shape))


def wander(member: Any, obs: Any, keys: Any) -> Any:
    """Actions that depend on what is seen and on the key, inside Drift's box."""
    shift = jax.vmap(jax.vmap(lambda k: jax.random.uniform(k, (2,))))(keys)
    return jnp.clip(jnp.array([-0.4, 0.6]) * obs + shift, -1.0, 1.0)


def played(env: Any, act: Any, keys: Any, **options: Any) -> Episodes:
    """One lane an item unless the keys say otherwise; all play at once unless `slots` does."""
    reference = options.pop("reference", None)
    keys = keys if keys.ndim == 2 else keys[:, None]
    options = {"slots": len(keys), "refill_at": 1} | options
    run = quick(lambda keys, ref: play(env, act, keys, reference=ref, **options))
    out = jax.device_get(run(keys, reference))
    return out._replace(returns=out.returns.reshape(-1), lengths=out.lengths.reshape(-1))


@cache
def compiled(env: Any, act: Any) -> tuple[Any, Any, Any]:
    return quick(env.reset), quick(env.step), quick(act)


def alone(env: Any, act: Any, keys: Any, horizon: int) -> tuple[Any, Any, Any]:
    """Returns, lengths and all observations acted on, one lane after the other."""
    reset, step, act = compiled(env, act)
    returns, lengths, seen = [], [], []
    for key in keys:
        reset_key, step_key = jax.random.split(key)
        (state, obs), total, t = reset(reset_key), 0.0, 0
        while t < horizon:
            seen.append(np.asarray(obs, np.float64))
            action = act((), obs[None, None], jax.random.fold_in(step_key, 2 * t)[None, None])[0, 0]
            state, now = step(jax.random.fold_in(step_key, 2 * t + 1), state, action)
            obs, total, t = now.obs, total + float(now.reward), t + 1
            if now.terminated or now.truncated:
                break
        returns.append(total)
        lengths.append(t)
    return np.array(returns), np.array(lengths), np.array(seen)


@pytest.mark.parametrize("horizon", [4, 3])
@pytest.mark.parametrize(
    ("slots", "per_item", "refill_at"), [(16, 1, 1), (5, 1, 1), (5, 1, 3), (5, 1, 5), (3, 2, 1)]
)
def test_episodes_side_by_side_are_episodes_played_alone(
    horizon: int, slots: int, per_item: int, refill_at: int
) -> None:
    env, keys, reference = Drift(), lane_keys(), jnp.array([0.3, -5.0])
    returns, lengths, seen = alone(env, wander, keys, horizon)
    assert len(set(lengths)) > 1, "lanes that all end at once need no mask"
    got = played(
        env,
        wander,
        keys.reshape(-1, per_item),
        horizon=horizon,
        reference=reference,
        slots=slots,
        refill_at=refill_at,
    )
    np.testing.assert_array_equal(got.lengths, lengths)
    np.testing.assert_allclose(got.returns, returns, rtol=1e-5, atol=1e-5)
    assert got.simulated == steps_of_queue(lengths.reshape(-1, per_item), slots, refill_at)
    assert got.moments.n == len(seen)
    np.testing.assert_allclose(got.moments.mean, seen.mean(0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(got.moments.m2, len(seen) * seen.var(0), rtol=1e-4)


def counted_lengths(env: Counting, keys: Any) -> np.ndarray:
    """What the environment drew for each lane."""
    draw = quick(jax.vmap(lambda key: env.reset(jax.random.split(key)[0])[0].length))
    return np.asarray(draw(keys))


@pytest.mark.parametrize("horizon", [1, 5, 12])
def test_a_lane_pays_only_while_it_lives_and_is_never_restarted(horizon: int) -> None:
    env, keys = Counting(), lane_keys()
    lengths = np.minimum(counted_lengths(env, keys), horizon)
    got = played(env, noop(env), keys, horizon=horizon)
    np.testing.assert_array_equal(got.lengths, lengths)
    np.testing.assert_array_equal(got.returns, lengths)
    assert got.simulated == LANES * lengths.max()


def test_moments_are_of_live_observations_whatever_the_reference() -> None:
    env, keys = Counting(), lane_keys()
    lengths = counted_lengths(env, keys)
    # A lane that lives n steps acts on (0, n), ..., (n - 1, n); what it saw at its end is not used.
    seen = np.concatenate([[(t, n) for t in range(n)] for n in lengths]).astype(float)
    for reference in ([0.0, 0.0], [4.0, 6.0], [-30.0, 30.0]):
        ref = jnp.array(reference)
        got = played(env, noop(env), keys, horizon=12, reference=ref).moments
        assert got.n == lengths.sum()
        np.testing.assert_allclose(got.mean, seen.mean(0), rtol=1e-5)
        np.testing.assert_allclose(got.m2, len(seen) * seen.var(0), rtol=1e-3)


@pytest.mark.parametrize(("env", "reference"), [(Counting(), None), (Match(True), 0.0)])
def test_moments_are_empty_without_a_reference_or_with_integers(
    env: Any, reference: float | None
) -> None:
    ref = None if reference is None else jnp.full(1, reference)
    got = played(env, noop(env), lane_keys(4), horizon=3, reference=ref).moments
    assert got.n == 0 and not np.any(got.mean) and not np.any(got.m2)


def test_lanes_with_equal_keys_play_the_same_episode() -> None:
    keys = jnp.repeat(lane_keys(4), 2)
    got = played(Drift(), wander, keys, horizon=4)
    np.testing.assert_array_equal(got.returns[::2], got.returns[1::2])
    assert len(set(got.returns.tolist())) == 4


def test_the_time_limit_truncates_and_does_not_terminate() -> None:
    env = Counting(longest=30)
    keys = lane_keys()
    lengths, limit = counted_lengths(env, keys), env.spec.max_steps
    assert lengths.min() <= limit < lengths.max()
    step = quick(jax.vmap(env.step, in_axes=(0, 0, None)))
    state = quick(jax.vmap(lambda key: env.reset(jax.random.split(key)[0])))(keys)[0]
    ended: dict[str, np.ndarray] = {name: np.zeros(LANES, bool) for name in ("task", "limit")}
    for _ in range(limit):
        state, now = step(keys, state, 0)
        ended["task"] |= np.asarray(now.terminated)
        ended["limit"] |= np.asarray(now.truncated)
    np.testing.assert_array_equal(ended["task"], lengths <= limit)
    np.testing.assert_array_equal(ended["limit"], lengths > limit)
    # Both end the episode, though the horizon would have let it go on.
    got = played(env, noop(env), keys, horizon=limit + 5)
    np.testing.assert_array_equal(got.lengths, np.minimum(lengths, limit))


def test_steps_are_told_by_queue() -> None:
    env, keys = Counting(), lane_keys()
    lengths = counted_lengths(env, keys).reshape(4, 4)
    blocks = Blocks(4)
    run = quick(
        lambda keys: blocks.map(
            lambda _, k: play(env, noop(env), k, horizon=12, slots=4, refill_at=1), None, keys
        )
    )
    metrics = step_metrics(run(keys.reshape(4, 4, 1)))
    np.testing.assert_array_equal(metrics["live_env_steps"], lengths.sum(axis=1))
    np.testing.assert_array_equal(metrics["simulated_env_steps"], 4 * lengths.max(axis=1))


@given(items=st.integers(1, 9000), per_item=st.integers(1, 64), lanes=st.integers(1, 1024))
def test_queues_are_equal_and_play_in_at_most_their_lanes(
    items: int, per_item: int, lanes: int
) -> None:
    blocks = Blocks(lanes)
    queues, size = blocks.split(items, per_item)
    assert queues * size == items and queues <= MOST_QUEUES
    slots = blocks.slots(size, per_item)
    assert 1 <= slots <= size
    # One item may be too large for the lanes by itself; it cannot be split.
    assert slots * per_item <= lanes or slots == 1
    # Where there are items enough for two queues, two devices have work.
    assert queues > 1 or items % 2


@given(
    per_item=st.integers(1, 64),
    lanes=st.integers(1, 1024),
    item_bytes=st.integers(1, 100),
    cache=st.integers(1, 1000),
)
def test_lanes_are_as_many_as_fit_the_cache(
    per_item: int, lanes: int, item_bytes: int, cache: int
) -> None:
    def room(cache: int) -> int:
        return Blocks(lanes, cache_bytes=cache).fitting(per_item, item_bytes).slots(9000, per_item)

    assert room(0) == Blocks(lanes).slots(9000, per_item)
    # One item may be too large for the cache by itself; it must be played all the same.
    assert room(cache) * item_bytes <= cache or room(cache) == 1
    assert room(cache) == room(0) or (room(cache) + 1) * item_bytes > cache


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=40),
    lanes=st.integers(1, 16),
    packing=st.booleans(),
)
def test_no_queue_takes_more_steps_than_it_may(
    lengths: list[int], lanes: int, packing: bool
) -> None:
    blocks = Blocks(lanes, packing=packing)
    slots = blocks.slots(len(lengths), 1)
    took = steps_of_queue(np.array(lengths)[:, None], slots, blocks.refill_at(slots))
    assert took <= blocks.most_steps(len(lengths), 1, horizon=9)


def test_packing_changes_the_order_and_nothing_else() -> None:
    """One program, told to wait or not: the same bits of every episode and of their moments."""
    env, keys = Drift(), lane_keys(64)[:, None]
    run = jax.jit(
        lambda keys, at: play(
            env, wander, keys, horizon=4, slots=8, reference=jnp.ones(2), refill_at=at
        )
    )
    packed, lockstep = (jax.device_get(run(keys, jnp.int32(at))) for at in (1, 8))
    assert packed.simulated < lockstep.simulated
    for a, b in zip(
        jax.tree.leaves(packed._replace(simulated=0)),
        jax.tree.leaves(lockstep._replace(simulated=0)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@given(n=st.integers(1, 3000), at_most=st.integers(-5, 4000))
def test_blocks_are_as_large_as_they_can_be(n: int, at_most: int) -> None:
    size = largest_divisor(n, at_most)
    assert size == max(d for d in range(1, n + 1) if n % d == 0 and d <= max(1, at_most))


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("gather", [True, False])
@pytest.mark.parametrize("n", [4, 5])
def test_map_keeps_the_order_of_blocks(devices: int, gather: bool, n: int) -> None:
    if devices > len(jax.devices()):
        pytest.skip("this process has one device")
    x = jnp.arange(n * 3.0).reshape(n, 3)
    other = {"scale": jnp.arange(1.0, n + 1)}
    run = quick(
        lambda shared, x, other: Blocks(3, devices).map(
            lambda s, row, o: {"row": s + o["scale"] * row, "sum": jnp.sum(row)},
            shared,
            x,
            other,
            gather=gather,
        )
    )
    # What is not gathered may be longer, so that every device has as many.
    got = jax.tree.map(lambda x: x[:n], run(jnp.float32(100.0), x, other))
    scale = np.arange(1.0, n + 1)[:, None]
    np.testing.assert_array_equal(got["row"], 100.0 + scale * np.asarray(x))
    np.testing.assert_array_equal(got["sum"], np.asarray(x).sum(1))


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("reduction", ["ordered", "psum"])
@pytest.mark.parametrize("n", [4, 5])
def test_sum_adds_every_queue_once(devices: int, reduction: Any, n: int) -> None:
    blocks = Blocks(3, devices, reduction=reduction)
    x = jnp.arange(n * 3.0).reshape(n, 3)
    got = quick(lambda s, x: blocks.sum(lambda s, row: {"row": s * row}, s, x))(2.0, x)
    # Whole numbers: every order of adding gives the same.
    np.testing.assert_array_equal(got["row"], 2.0 * np.asarray(x).sum(0))


def test_moments_of_features_far_from_zero_do_not_cancel() -> None:
    class Far(Counting):
        def _show(self, state: Any) -> Any:
            steps = state.t.astype(jnp.float32)
            return jnp.stack([jnp.float32(300.1), 1000.0 + 0.1 * steps])

    keys = jax.random.split(jax.random.key(0), 64)
    got = played(Far(), noop(Far()), keys, horizon=12, reference=jnp.zeros(2))
    steps = np.concatenate([np.arange(n) for n in got.lengths])
    variance = np.asarray(got.moments.m2) / float(got.moments.n)
    # float32 resolves 1000 to 6e-5: the feature's own rounding, not its square's.
    np.testing.assert_allclose(variance, [0.0, np.var(0.1 * steps)], atol=1e-3)
