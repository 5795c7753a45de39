"""A point mass in the plane, to be brought to rest at the origin."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rlbench.env import Box, EnvSpec, TimeStep, Vector


class PointState(NamedTuple):
    position: jax.Array
    velocity: jax.Array
    steps: jax.Array


class PointMass:
    """Forces in [-1, 1]; pays at most 0 a step, for distance and for force."""

    spec = EnvSpec("example/point-mass", Vector(4), Box((-1.0, -1.0), (1.0, 1.0)), max_steps=100)
    budget = 1_000_000  # what a run spends on it unless told otherwise

    def reset(self, key):
        position = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
        state = PointState(position, jnp.zeros(2), jnp.zeros((), jnp.int32))
        return state, self._observe(state)

    def step(self, key, state, action):
        velocity = 0.95 * state.velocity + 0.1 * action
        state = PointState(state.position + 0.1 * velocity, velocity, state.steps + 1)
        reward = -jnp.sum(state.position**2) - 0.01 * jnp.sum(action**2)
        truncated = state.steps >= self.spec.max_steps
        return state, TimeStep(self._observe(state), reward, jnp.array(False), truncated)

    def _observe(self, state):
        return jnp.concatenate([state.position, state.velocity])
