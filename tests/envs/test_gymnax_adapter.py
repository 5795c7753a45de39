"""The gymnax adapter against gymnax itself, for every environment of the table."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.env import Box, Discrete, Vector, uniform_action
from rlbench.envs.gymnax_adapter import GymnaxEnv, gymnax, spaces
from rlbench.errors import UsageError
from rlbench.registry import EnvEntry, env_entries, find_env, make_env, refused_envs

ENTRIES = [entry for entry in env_entries() if entry.suite == "gymnax"]
NAMES = [entry.name for entry in ENTRIES]
STEPS = 210  # more than 200, so that Pendulum and MountainCar go on after their time limit
LANES = 3

each_env = pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)


class Seen(NamedTuple):
    """What a caller sees of every step, (STEPS, LANES, ...)."""

    obs: Any
    reward: Any
    terminated: Any
    truncated: Any


def library_functions(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """gymnax's own reset_env and step_env, as (state, obs) and (state, Seen)."""
    env, params = gymnax.make(name)

    def reset(key: Any) -> tuple[Any, Any]:
        obs, state = env.reset_env(key, params)
        return state, obs

    def step(key: Any, state: Any, action: Any) -> tuple[Any, Seen]:
        obs, state, reward, terminated, _ = env.step_env(key, state, action, params)
        return state, Seen(obs, reward, terminated, env.is_truncated(state, params))

    return reset, step


def episodes(
    reset: Callable[..., Any], step: Callable[..., Any], actions: Any, seed: int = 0
) -> tuple[Any, Seen]:
    """First observations, and all steps; an ended lane is reset with the next key."""
    root = jax.random.key(seed)

    def keys(t: Any, use: int) -> Any:
        return jax.random.split(jax.random.fold_in(jax.random.fold_in(root, t), use), LANES)

    def one_step(state: Any, at: tuple[Any, Any]) -> tuple[Any, Seen]:
        t, action = at
        after, seen = jax.vmap(step)(keys(t, 0), state, action)
        fresh, _ = jax.vmap(reset)(keys(t, 1))
        ended = seen.terminated | seen.truncated

        def pick(new: Any, old: Any) -> Any:
            return jnp.where(ended.reshape(-1, *[1] * (jnp.ndim(old) - 1)), new, old)

        return jax.tree.map(pick, fresh, after), seen

    def play(actions: Any) -> tuple[Any, Seen]:
        state, obs = jax.vmap(reset)(keys(actions.shape[0], 2))
        _, seen = jax.lax.scan(one_step, state, (jnp.arange(actions.shape[0]), actions))
        return obs, seen

    # At level 0 the larger games compile twice as fast, and 210 steps are few.
    compiled = jax.jit(play).lower(actions).compile({"xla_backend_optimization_level": 0})
    return jax.device_get(compiled(actions))


def random_actions(space: Any) -> Any:
    """(STEPS, LANES, ...) actions, drawn by gymnax."""
    keys = jax.random.split(jax.random.key(7), STEPS * LANES)
    flat = jax.vmap(space.sample)(keys)
    return flat.reshape(STEPS, LANES, *flat.shape[1:])


@each_env
def test_steps_equal_the_library(entry: EnvEntry) -> None:
    env = make_env(entry)
    library, params = gymnax.make(entry.name)
    actions = random_actions(library.action_space(params))
    first, ours = episodes(env.reset, lambda *a: _seen(env.step(*a)), actions)
    library_first, theirs = episodes(*library_functions(entry.name), actions)

    discrete = isinstance(env.spec.observation, Discrete)
    shape = () if discrete else (env.spec.observation.size,)
    dtype = np.int32 if discrete else np.float32
    assert (ours.obs.dtype, ours.obs.shape) == (dtype, (STEPS, LANES, *shape))
    assert (first.dtype, first.shape) == (dtype, (LANES, *shape))
    assert ours.reward.dtype == np.float32
    assert ours.terminated.dtype == ours.truncated.dtype == bool

    def check(ours: Any, theirs: Any) -> None:
        np.testing.assert_array_equal(ours, theirs.reshape(ours.shape).astype(ours.dtype))

    check(first, library_first)
    for mine, its in zip(ours, theirs, strict=True):
        check(mine, its)
    ended = ours.terminated | ours.truncated
    assert ended.any(axis=0).all() or entry.max_steps > STEPS


def _seen(result: tuple[Any, Any]) -> tuple[Any, Seen]:
    state, now = result
    return state, Seen(now.obs, now.reward, now.terminated, now.truncated)


@each_env
def test_spec_is_the_librarys(entry: EnvEntry) -> None:
    spec = make_env(entry).spec
    library, params = gymnax.make(entry.name)
    assert spec.id == f"gymnax/{entry.name}"
    assert spec.max_steps == entry.max_steps == params.max_steps_in_episode

    observed = library.observation_space(params)
    if isinstance(observed, spaces.Discrete):
        assert spec.observation == Discrete(observed.n)
    else:
        assert spec.observation == Vector(int(np.prod(observed.shape)))

    acted = library.action_space(params)
    if isinstance(acted, spaces.Discrete):
        assert spec.action == Discrete(acted.n)
    else:
        assert isinstance(spec.action, Box)
        assert acted.shape == (spec.action.size,)
        np.testing.assert_array_equal(spec.action.low, np.broadcast_to(acted.low, acted.shape))
        np.testing.assert_array_equal(spec.action.high, np.broadcast_to(acted.high, acted.shape))


def test_table_is_the_registry_less_the_refused() -> None:
    refused = {id.removeprefix("gymnax/") for id in refused_envs() if id.startswith("gymnax/")}
    assert refused == {"MNISTBandit-bsuite"}
    assert sorted(NAMES) == sorted(set(gymnax.registered_envs) - refused)


@pytest.mark.parametrize("name", ["gymnax/MNISTBandit-bsuite", "MNISTBandit-bsuite"])
def test_mnist_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(UsageError, match=r"MNISTBandit-bsuite.*downloads the MNIST images"):
        find_env(name)


@pytest.mark.parametrize("alias", ["pendulum", "mountain_car", "mountain_car_continuous"])
def test_the_time_limit_truncates(alias: str) -> None:
    entry = find_env(alias)
    env = make_env(entry)
    terminated, truncated = _random_episode(env, entry.max_steps)
    # A random policy never solves these, so their episodes end by the clock and not before.
    assert not terminated.any()
    np.testing.assert_array_equal(truncated, np.arange(1, entry.max_steps + 1) >= entry.max_steps)


def test_max_steps_replaces_the_librarys_limit() -> None:
    _, truncated = _random_episode(GymnaxEnv("gymnax/Pendulum-v1", "Pendulum-v1", max_steps=7), 9)
    np.testing.assert_array_equal(truncated, [False] * 6 + [True] * 3)


def test_a_fall_terminates_and_does_not_truncate() -> None:
    terminated, truncated = _random_episode(make_env(find_env("cartpole")), 200)
    assert terminated.any() and not truncated.any()


def _random_episode(env: GymnaxEnv, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(steps,) terminated and truncated of one lane, stepped on past its end."""

    @jax.jit
    def play(key: Any) -> Any:
        def one_step(state: Any, key: Any) -> Any:
            state, now = env.step(key, state, uniform_action(env.spec.action, key))
            return state, (now.terminated, now.truncated)

        return jax.lax.scan(one_step, env.reset(key)[0], jax.random.split(key, steps))[1]

    return jax.device_get(play(jax.random.key(1)))
