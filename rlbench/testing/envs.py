"""What an environment must do."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rlbench import contract
from rlbench.contract import ContractError
from rlbench.env import AnyEnv, Box, Discrete, uniform_action
from rlbench.testing.agents import same

LANES = 8
MOST_STEPS = 1000
"""Env steps that an episode is followed for."""


class Trace(NamedTuple):
    """What LANES episodes of random actions did: (T, L) each, and `obs` (T, L, ...)."""

    obs: Array
    reward: Array
    terminated: Array
    truncated: Array


class Environment:
    """An environment: what the checks take. Programs are compiled once."""

    def __init__(self, env: AnyEnv, who: str = "") -> None:
        """Takes the environment; `who` is how a complaint begins, its class if empty."""
        self.env = env
        self.who = who or f"env {type(env).__name__}"

    @property
    def steps(self) -> int:
        """How long an episode is followed."""
        return min(self.env.spec.max_steps, MOST_STEPS)

    def fail(self, sentence: str) -> None:
        """The check has failed.

        Raises:
            ContractError: always.
        """
        raise ContractError(f"{self.who} {sentence}")

    def keys(self, n: int = LANES) -> Any:
        """As many keys."""
        return jax.random.split(jax.random.key(0), n)

    @cached_property
    def play(self) -> Callable[[Any], tuple[Any, Trace]]:
        """(L,) keys to the states at the end, and what happened; episodes are not cut."""
        env = self.env

        def step(c: tuple[Any, Any], t: Array) -> tuple[tuple[Any, Any], Trace]:
            state, keys = c
            here = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
            action = jax.vmap(lambda k: uniform_action(env.spec.action, k))(here)
            state, now = jax.vmap(env.step)(here, state, action)
            return (state, keys), Trace(now.obs, now.reward, now.terminated, now.truncated)

        def play(keys: Any) -> tuple[Any, Trace]:
            state = jax.vmap(env.reset)(keys)[0]
            (state, _), trace = jax.lax.scan(step, (state, keys), jnp.arange(self.steps))
            return state, trace

        return jax.jit(play)

    @cached_property
    def trace(self) -> Trace:
        """Of the keys that all checks share, as NumPy arrays."""
        return jax.tree.map(np.asarray, self.play(self.keys())[1])  # type: ignore[no-any-return]

    def alive(self) -> Any:
        """(T, L): whether the episode was still going on before a step."""
        ended = self.trace.terminated | self.trace.truncated
        before = np.cumsum(ended, axis=0) - ended
        return before == 0


def shapes(environment: Environment) -> None:
    """States, observations, rewards and flags have the shapes and types the engine expects."""
    contract.check_env(environment.env, environment.who)


def determinism(environment: Environment) -> None:
    """The same keys give the same bits twice."""
    first, second = (environment.play(environment.keys()) for _ in range(2))
    if told := same(first, second):
        environment.fail(f"plays differently from the same keys: {told}")


def purity(environment: Environment) -> None:
    """A step depends on its arguments alone: traced anew, it is the same."""
    env, key = environment.env, jax.random.key(1)

    def both(key: Any) -> Any:
        state, obs = env.reset(key)
        return obs, env.step(key, state, uniform_action(env.spec.action, key))

    if told := same(*(jax.jit(lambda k: both(k))(key) for _ in range(2))):
        environment.fail(f"is not pure: traced a second time, it gives another result, {told}")


def finite(environment: Environment) -> None:
    """What happens before an episode's end is finite, under random actions."""
    alive, trace = environment.alive(), environment.trace
    if not np.all(np.isfinite(trace.reward[alive])):
        environment.fail("pays NaN or infinity before an episode's end")
    if not np.all(np.isfinite(trace.obs[alive])):
        environment.fail("shows NaN or infinity before an episode's end")


def extremes(environment: Environment) -> None:
    """Actions at the bounds of their space are actions too."""
    env, key = environment.env, jax.random.key(2)
    space = env.spec.action
    ends = (space.low, space.high) if isinstance(space, Box) else (0, space.n - 1)
    state, _ = jax.jit(env.reset)(key)
    step = jax.jit(env.step)
    for end in ends:
        action = jnp.asarray(end, jnp.float32 if isinstance(space, Box) else jnp.int32)
        now = step(key, state, action)[1]
        if not bool(jnp.isfinite(now.reward) & jnp.all(jnp.isfinite(now.obs))):
            environment.fail(f"gives NaN or infinity for the action {end}")


def lanes(environment: Environment) -> None:
    """Episodes that are stepped together do not see each other."""
    env, keys = environment.env, environment.keys()

    def one(key: Any) -> Any:
        state, obs = env.reset(key)
        return obs, env.step(key, state, uniform_action(env.spec.action, key))[1]

    together, alone = jax.jit(jax.vmap(one))(keys), jax.jit(one)
    for i in (0, LANES - 1):
        for x, y in zip(*map(jax.tree.leaves, (together, alone(keys[i]))), strict=True):
            if not np.allclose(x[i], y, rtol=1e-3, atol=1e-4, equal_nan=True):
                environment.fail("steps differently in a batch than alone: lanes see each other")


def limit(environment: Environment) -> None:
    """An episode is cut at `max_steps`, and not before."""
    spec, trace = environment.env.spec, environment.trace
    at_limit = np.zeros_like(trace.truncated)
    if environment.steps == spec.max_steps:
        at_limit[-1] = True
    early = trace.truncated & environment.alive() & ~at_limit
    if early.any():
        step = int(np.argwhere(early)[0][0]) + 1
        environment.fail(f"truncates at step {step}, and its max_steps is {spec.max_steps}")
    ended = trace.truncated | trace.terminated
    if (environment.alive() & at_limit & ~ended).any():
        environment.fail(f"does not end at its max_steps of {spec.max_steps}")


def observations(environment: Environment) -> None:
    """Integer observations are those that the environment says it has."""
    space = environment.env.spec.observation
    if isinstance(space, Discrete):
        seen = environment.trace.obs[environment.alive()]
        if seen.size and not np.all((seen >= 0) & (seen < space.n)):
            environment.fail(f"shows {seen.min()} to {seen.max()}, and says that it shows {space}")


ENV_CHECKS: tuple[Callable[[Environment], None], ...] = (
    shapes,
    determinism,
    purity,
    finite,
    extremes,
    lanes,
    limit,
    observations,
)
"""In the order in which they explain each other's failures."""
