"""The Brax adapter against Brax itself, for every environment of the table and every backend."""

import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.env import Box, Vector
from rlbench.envs.brax_adapter import BraxEnv, BraxState, brax_envs
from rlbench.errors import UsageError
from rlbench.registry import EnvEntry, env_entries, find_env, make_env, refused_envs

# Brax's physics reads fields that mujoco-mjx has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:brax")

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = [entry for entry in env_entries() if entry.suite == "brax"]
OTHERS = [
    find_env(f"{entry.base}@{backend}")
    for entry in ENTRIES
    for backend in entry.backends[1:]
    if backend not in entry.only_accelerator
]
SLOW = ("hopper", "humanoid", "humanoidstandup", "pusher", "walker2d")
"""About a minute each, which is compilation; the adapter is the same for all."""
STEPS = 200
LANES = 2
FIRST = 900  # env steps said to be taken already, so that the time limit is passed on the way


def name_of(entry: EnvEntry) -> str:
    return f"{entry.name}@{entry.backend}"


class Played(NamedTuple):
    """The library's own trajectory: (LANES, ...) start, and (STEPS, LANES, ...) steps."""

    start: Any
    before: Any
    after: Any


ours = cache(make_env)


@cache
def library(entry: EnvEntry) -> Any:
    """Brax's own environment, which our adapter has no part in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return brax_envs.get_environment(entry.name, backend=entry.backend)


def compiled(function: Any, *args: Any) -> Any:
    """Runs a function, compiled at level 0: twice as fast to compile, and 200 steps are few."""
    lowered = jax.jit(function).lower(*args)
    return jax.device_get(lowered.compile({"xla_backend_optimization_level": 0})(*args))


def library_plays(env: Any, actions: Any) -> Played:
    """Brax alone; a lane that is done goes on from its start state."""

    def play(actions: Any) -> Played:
        start = jax.vmap(env.reset)(start_keys())

        def step(state: Any, action: Any) -> tuple[Any, tuple[Any, Any]]:
            after = jax.vmap(env.step)(state, action)

            def pick(new: Any, old: Any) -> Any:
                return jnp.where((after.done > 0.5).reshape(-1, *[1] * (new.ndim - 1)), new, old)

            return jax.tree.map(pick, start, after), (state, after)

        return Played(start, *jax.lax.scan(step, start, actions)[1])

    return compiled(play, actions)


def start_keys() -> Any:
    return jax.random.split(jax.random.key(3), LANES)


def adapter_follows(env: BraxEnv, before: Any, steps: Any, actions: Any) -> tuple[Any, Any]:
    """The adapter's reset, and its step from each of the library's states.

    The two sides are separate programs and the physics is chaotic: this way a difference in
    rounding would not grow.
    """

    def follow(before: Any, steps: Any, actions: Any) -> tuple[Any, Any]:
        def step(_: None, at: tuple[Any, Any, Any]) -> tuple[None, Any]:
            state, taken, action = at
            return None, jax.vmap(env.step)(start_keys(), BraxState(state, taken), action)

        start = jax.vmap(env.reset)(start_keys())
        return start, jax.lax.scan(step, None, (before, steps, actions))[1]

    return compiled(follow, before, steps, actions)


def check_steps(entry: EnvEntry) -> None:
    env, brax = ours(entry), library(entry)
    actions = jax.random.uniform(
        jax.random.key(5), (STEPS, LANES, brax.action_size), minval=-1.0, maxval=1.0
    )
    played = library_plays(brax, actions)
    steps = np.broadcast_to(FIRST + np.arange(STEPS, dtype=np.int32)[:, None], (STEPS, LANES))
    (start, obs), (after, now) = adapter_follows(env, played.before, steps, actions)

    same(start.brax, played.start)
    same(obs, played.start.obs)
    assert not start.steps.any()
    same(after.brax, played.after)
    same(now.obs, played.after.obs)
    same(now.reward, played.after.reward)
    terminated = played.after.done > 0.5
    np.testing.assert_array_equal(now.terminated, terminated)
    np.testing.assert_array_equal(after.steps, steps + 1)
    np.testing.assert_array_equal(now.truncated, (steps + 1 >= entry.max_steps) & ~terminated)
    assert now.obs.shape == (STEPS, LANES, env.spec.observation.size)
    assert now.obs.dtype == now.reward.dtype == np.float32
    assert now.truncated.any() and now.terminated.dtype == now.truncated.dtype == bool


def same(mine: Any, its: Any) -> None:
    """Equal in every leaf, bit for bit (NaN equals NaN)."""
    jax.tree.map(np.testing.assert_array_equal, mine, its)


@pytest.mark.parametrize(
    "entry",
    [pytest.param(e, marks=[pytest.mark.slow] * (e.name in SLOW)) for e in ENTRIES],
    ids=name_of,
)
def test_steps_equal_the_library(entry: EnvEntry) -> None:
    check_steps(entry)


@pytest.mark.slow
@pytest.mark.parametrize("entry", OTHERS, ids=name_of)
def test_steps_equal_the_library_on_other_backends(entry: EnvEntry) -> None:
    check_steps(entry)


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_spec_is_the_librarys(entry: EnvEntry) -> None:
    spec, brax = ours(entry).spec, library(entry)
    assert spec.id == f"brax/{entry.name}@{entry.backend}"
    assert spec.max_steps == entry.max_steps == 1000
    assert spec.observation == Vector(brax.observation_size)
    assert spec.action == Box((-1.0,) * brax.action_size, (1.0,) * brax.action_size)


def test_table_is_the_registry_less_the_refused() -> None:
    refused = {id.removeprefix("brax/") for id in refused_envs() if id.startswith("brax/")}
    assert refused == {"swimmer"}
    assert sorted(entry.name for entry in ENTRIES) == sorted(set(brax_envs._envs) - refused)


@pytest.mark.parametrize("name", ["brax/swimmer", "swimmer", "swimmer@generalized"])
def test_swimmer_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(UsageError, match=r"brax/swimmer.*a_min"):
        find_env(name)


def test_backend_is_part_of_the_id() -> None:
    entry = find_env("ant@positional")
    assert (entry.id, entry.backend) == ("brax/ant@positional", "positional")
    assert find_env("brax/ant@positional") == entry
    assert find_env("ant").id == find_env("ant@spring").id == "brax/ant@spring"


@pytest.mark.parametrize("name", ["inverted_pendulum@spring", "inverted_pendulum@generalized"])
def test_the_backend_reaches_the_library(name: str) -> None:
    entry = find_env(name)
    assert ours(entry).library.backend == entry.backend


@pytest.mark.parametrize("name", ["ant@warp", "brax/ant@", "ant@Spring"])
def test_unknown_backend_names_the_choices(name: str) -> None:
    with pytest.raises(UsageError, match="spring, positional, generalized, mjx"):
        find_env(name)


def run(env: BraxEnv, steps: int, action: float) -> Any:
    """(steps,) what one lane sees under a constant action, stepped on past its end."""

    def play(key: Any) -> Any:
        def step(state: Any, _: None) -> Any:
            state, now = env.step(key, state, jnp.full(env.spec.action.size, action))
            return state, now

        return jax.lax.scan(step, env.reset(key)[0], None, steps)[1]

    return compiled(play, jax.random.key(1))


def limited(env: BraxEnv, max_steps: int) -> BraxEnv:
    return BraxEnv("x", "inverted_pendulum", env.library.backend, max_steps)


def test_the_time_limit_truncates() -> None:
    now = run(BraxEnv("brax/fast@spring", "fast", "spring", max_steps=5), 7, 1.0)
    assert not now.terminated.any()
    np.testing.assert_array_equal(now.truncated, [False] * 4 + [True] * 3)


def test_a_fall_terminates_also_at_the_limit() -> None:
    """Pushed one way, the pendulum falls; with the limit at that very step, it still has fallen."""
    env = make_env(find_env("inverted_pendulum"))
    now = run(env, 100, 1.0)
    fall = int(np.argmax(now.terminated))
    assert fall > 0 and not now.truncated[: fall + 1].any()

    at_fall = run(limited(env, fall + 1), fall + 1, 1.0)
    assert at_fall.terminated[fall] and not at_fall.truncated.any()
    earlier = run(limited(env, fall), fall + 1, 1.0)
    assert earlier.truncated[fall - 1] and not earlier.terminated[fall - 1]


def test_import_and_make_print_nothing_to_stdout() -> None:
    code = (
        "import rlbench.envs.brax_adapter as b\n"
        "b.BraxEnv('brax/fast@spring', 'fast', 'spring', 10)\n"
        "b.BraxEnv('brax/ant@spring', 'ant', 'spring', 10)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
