"""Lanes play on from segment to segment, with fresh episodes and true final observations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.segments import RESETS, collect, start
from tests.toy_envs import Counting, Drift

LANES = 3 * RESETS + 1


def keys(n=LANES):
    return jax.random.split(jax.random.key(3), n)


def noop(obs, keys):
    return jnp.zeros(obs.shape[0], jnp.int32), ()


def push(obs, keys):
    """Actions that depend on observation and key."""
    noise = jax.vmap(lambda k: jax.random.normal(k, (2,)))(keys)
    return jnp.clip(obs + noise, -1.0, 3.0), noise


@pytest.mark.parametrize("longest", [1, 9])
def test_episodes_follow_each_other_without_a_gap(longest):
    """Counting shows (steps so far, drawn length), pays 1 a live step and is NaN after its end."""
    env = Counting(longest)
    _, s = jax.jit(lambda k: collect(env, noop, start(env, k), 40))(keys())
    np.testing.assert_array_equal(s.reward, 1.0)
    ended = np.asarray(s.terminated | s.truncated)
    assert ended.any(axis=0).all()
    t, length = np.moveaxis(np.asarray(s.obs), -1, 0)
    np.testing.assert_array_equal(s.next_obs[..., 0], t + 1)
    np.testing.assert_array_equal(s.next_obs[..., 1], length)
    np.testing.assert_array_equal(ended, t + 1 == length)
    np.testing.assert_array_equal(t[1:], np.where(ended[:-1], 0, t[:-1] + 1))
    if longest > 1:  # each episode is a fresh draw, also within a lane
        firsts = [length[1:, lane][ended[:-1, lane]] for lane in range(LANES)]
        assert all(len(set(lane)) > 1 for lane in firsts)
        assert len({tuple(lane[:4]) for lane in firsts}) > LANES // 2


def test_what_a_lane_does_depends_on_its_key_alone():
    env = Drift()
    _, all_of_them = jax.jit(lambda k: collect(env, push, start(env, k), 12))(keys())
    _, two = jax.jit(lambda k: collect(env, push, start(env, k), 12))(keys()[5:7])
    for a, b in zip(jax.tree.leaves(all_of_them), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a[:, 5:7], b, rtol=1e-5, atol=1e-6)


def test_two_segments_are_one_of_both_lengths():
    env = Drift()
    lanes, whole = jax.jit(lambda k: collect(env, push, start(env, k), 12))(keys())
    five = jax.jit(lambda lanes: collect(env, push, lanes, 5))
    seven = jax.jit(lambda lanes: collect(env, push, lanes, 7))
    middle, first = five(start(env, keys()))
    last, second = seven(middle)
    for a, b, c in zip(*map(jax.tree.leaves, (whole, first, second)), strict=True):
        np.testing.assert_allclose(a, np.concatenate([b, c]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(last.steps, lanes.steps)
    np.testing.assert_array_equal(last.steps, 12)
