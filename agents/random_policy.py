"""Uniform random actions: the floor of every comparison, and the speed limit of every other agent.

An update plays episodes with random actions and learns nothing, so its env steps per second are
those of the raw environment under the engine's own rollout.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rlbench.algorithm import Task
from rlbench.bounds import at_least
from rlbench.env import uniform_action
from rlbench.rollout import Episodes, play, step_metrics
from rlbench.seeding import Streams
from rlbench.types import Action, Key, Metrics, Obs


class RandomState(NamedTuple):
    """Nothing is learned; only the updates are counted."""

    update: Int[Array, ""]
    key: Key


@dataclass(frozen=True)
class RandomPolicy:
    """Uniform random actions.

    Attributes:
        episodes: episodes that one update plays.
    """

    episodes: int = 256

    memory_setting: ClassVar[str] = "episodes"

    def __post_init__(self) -> None:
        """Refuses no episodes.

        Raises:
            UsageError: an option is out of its range.
        """
        at_least(self, 1, "episodes")

    def env_steps_per_update(self, task: Task) -> int:
        """All episodes at full length, and lanes that idle meanwhile."""
        queues, size = task.blocks.split(self.episodes, 1)
        return queues * task.blocks.most_steps(size, 1, task.env.spec.max_steps)

    def init(self, task: Task, keys: Streams) -> RandomState:
        """The start."""
        return RandomState(jnp.zeros((), jnp.int32), keys.train)

    def act(self, task: Task, state: RandomState, obs: Obs, key: Key) -> Action:
        """A uniform action."""
        return uniform_action(task.env.spec.action, key)

    def step(self, task: Task, state: RandomState) -> tuple[RandomState, Metrics]:
        """Plays the episodes."""
        queues, size = task.blocks.split(self.episodes, 1)
        root = jax.random.fold_in(state.key, state.update)
        ids = jnp.arange(self.episodes).reshape(queues, size)
        slots = task.blocks.slots(size, 1)

        def queue(root: Key, ids: Array) -> Episodes:
            keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(ids)[:, None]
            draw = jax.vmap(jax.vmap(lambda key: uniform_action(task.env.spec.action, key)))
            return play(
                task.env,
                lambda _, obs, keys: draw(keys),
                keys,
                horizon=task.env.spec.max_steps,
                slots=slots,
                refill_at=task.blocks.refill_at(slots),
            )

        episodes = task.blocks.map(queue, root, ids)
        metrics = step_metrics(episodes) | {"return_mean": jnp.mean(episodes.returns)}
        return RandomState(state.update + 1, state.key), metrics
