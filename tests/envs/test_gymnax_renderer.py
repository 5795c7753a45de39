"""Every task of gymnax is drawn, or refused by name; a game's picture follows its state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.env import uniform_action
from rlbench.envs.classic_drawing import DRAWN
from rlbench.envs.gymnax_renderer import VISUALIZED, GymnaxRenderer
from rlbench.errors import UsageError
from rlbench.registry import env_entries, find_env, make_env
from rlbench.render import find_renderer

TITLE = 30
"""Rows at the top where a game's step is told."""
NAMES = [entry.name for entry in env_entries() if entry.suite == "gymnax"]


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_drawn_or_refused_with_what_can_be(name):
    entry = find_env(f"gymnax/{name}")
    if name not in (*DRAWN, *VISUALIZED):
        with pytest.raises(UsageError, match=r"cannot be drawn; .*Asterix-MinAtar, .*CartPole-v1"):
            find_renderer(entry, False)
        return
    env, renderer = make_env(entry), find_renderer(entry, False)
    start, _ = env.reset(jax.random.key(0))
    step, state = jax.jit(env.step), start
    for key in jax.random.split(jax.random.key(1), 8):
        state, _ = step(key, state, uniform_action(env.spec.action, key))
    first, again, later = renderer.draw(env, [start, start, state])
    assert first.dtype == np.uint8 and first.ndim == 3 and first.shape[2] == 3
    np.testing.assert_array_equal(first, again)
    assert (first[TITLE:] != later[TITLE:]).any()
    assert 0.01 < renderer.step_seconds(env) <= 0.2


def test_no_task_that_is_drawn_is_one_that_there_is_not():
    assert {*DRAWN, *VISUALIZED} <= set(NAMES)


def test_breakout_s_paddle_is_drawn_in_its_column():
    env = make_env(find_env("breakout"))
    state, _ = env.reset(jax.random.key(0))
    columns = []
    moved = [state.replace(pos=jnp.int32(x), time=7) for x in (1, 8)]
    for frame in GymnaxRenderer("Breakout-MinAtar", False).draw(env, moved):
        dark = frame.sum(axis=2) < 600
        field = frame[dark.mean(axis=1) > 0.3][:, dark.mean(axis=0) > 0.3]
        lowest = field[round(0.95 * len(field))].sum(axis=1)
        columns.append(np.flatnonzero(lowest > 60).mean() / len(lowest))
    np.testing.assert_allclose(columns, [0.15, 0.85], atol=0.03)


def test_a_page_is_refused():
    with pytest.raises(UsageError, match="take --format gif"):
        GymnaxRenderer("CartPole-v1", True)
