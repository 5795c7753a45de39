"""(1+1)-ES with the one-fifth success rule.

Rechenberg 1973, "Evolutionsstrategie"; Beyer & Schwefel 2002,
https://doi.org/10.1023/A:1015059928466
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from rlbench.algorithm import evaluate
from rlbench.rollout import step_metrics


class State(NamedTuple):
    params: Any
    sigma: jax.Array
    key: jax.Array


@dataclass(frozen=True)
class OnePlusOneES:
    """(1+1)-ES.

    Attributes:
        episodes: episodes that parent and child each play, from the same start states.
        sigma: standard deviation of the first child's distance from its parent.
        growth: factor on sigma after a success; a failure shrinks it by the fourth root.
    """

    episodes: int = 16
    sigma: float = 0.1
    growth: float = 1.5

    def env_steps_per_update(self, task):
        queues, size = task.blocks.split(self.episodes, 1)
        return 2 * queues * task.blocks.most_steps(size, 1, task.env.spec.max_steps)

    def init(self, task, keys):
        return State(task.policy.init(keys.init), jnp.float32(self.sigma), keys.train)

    def act(self, task, state, obs, key):
        return task.policy.mode(task.policy.apply(state.params, obs))

    def network(self, task, state):
        return state.params, None

    def step(self, task, state):
        carry, noise, start = jax.random.split(state.key, 3)
        flat, unflatten = ravel_pytree(state.params)
        mutant = unflatten(flat + state.sigma * jax.random.normal(noise, flat.shape))
        child = state._replace(params=mutant)
        starts = jax.random.split(start, self.episodes)
        played = [evaluate(self, task, who, starts) for who in (state, child)]
        before, after = (jnp.mean(episodes.returns) for episodes in played)
        won = after >= before
        params = jax.tree.map(lambda new, old: jnp.where(won, new, old), mutant, state.params)
        sigma = state.sigma * jnp.where(won, self.growth, self.growth**-0.25)
        counts = jax.tree.map(lambda *both: jnp.concatenate(both), *map(step_metrics, played))
        return State(params, sigma, carry), counts | {"sigma": sigma, "won": won}
