"""An exported policy in our own environments: the same adapter and rollout as an evaluation, from
start states that no evaluation has.
"""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from rlbench import __version__, registry
from rlbench.algorithm import AnyAlgorithm, Task, evaluate
from rlbench.blocks import Blocks
from rlbench.card import Space, check_spaces
from rlbench.env import Discrete, Vector
from rlbench.exported import ExportedPolicy
from rlbench.meter import Compiled
from rlbench.policy import MLPPolicy
from rlbench.seeding import IMPL, check_generator, stream
from rlbench.types import Action, Key, Obs

LANES = 32
"""Episodes stepped together, as in an evaluation."""


class Replay:
    """One of our environments, played by an exported policy.

    Attributes:
        id: the environment's.
        library: ours, and its version.
        max_steps: the time limit, in env steps.
    """

    def __init__(self, policy: ExportedPolicy, entry: registry.EnvEntry) -> None:
        """Makes the environment.

        Raises:
            UsageError: its spaces are not the policy's.
        """
        check_generator()
        self._env = registry.make_env(entry)
        spec, self._card = self._env.spec, policy.card
        check_spaces(policy.card, spec.id, space_of(spec.observation), space_of(spec.action))
        self.id, self.max_steps = spec.id, spec.max_steps
        self.library = f"rlbench {__version__}"
        self._tensors = {name: jnp.asarray(x) for name, x in policy.tensors.items()}

    def act(self, task: Task, state: dict[str, Any], obs: Obs, key: Key) -> Action:
        """The network's mode, as an algorithm's `act`; `state` is the export's arrays."""
        clip, depth = self._card.observation_clip, len(self._card.network.hidden) + 1
        if clip is not None:
            scaled = (obs - state["normalizer.mean"]) * state["normalizer.scale"]
            obs = jnp.clip(scaled, -clip, clip)
        layers = [{k: state[f"layers.{i}.{k}"] for k in ("b", "w")} for i in range(depth)]
        return task.policy.mode(task.policy.apply({"layers": layers}, obs))

    def play(
        self, episodes: int, seed: int, tell: Callable[[int, int], None]
    ) -> tuple[list[float], list[int]]:
        """Plays complete episodes.

        Args:
            episodes: how many.
            seed: of the episodes' keys; whatever it is, they are not the evaluation's.
            tell: called once with zeros, before compilation.

        Returns:
            Undiscounted returns, and lengths in env steps.
        """
        tell(0, 0)
        devices = len(jax.local_devices())
        task = Task(
            self._env, MLPPolicy(self._env.spec, self._card.network), Blocks(LANES, devices)
        )
        root = stream(jax.random.key(seed, impl=IMPL), "play")
        keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(episodes))
        given = jax.device_put((self._tensors, keys), task.blocks.replicated)
        agent = cast(AnyAlgorithm, self)  # an evaluation asks for nothing but its `act`
        played = Compiled(lambda state, keys: evaluate(agent, task, state, keys), *given)(*given)
        return np.asarray(played.returns).tolist(), np.asarray(played.lengths).tolist()


def space_of(space: Any) -> Space:
    """A space of the engine as a card has it."""
    if isinstance(space, Discrete):
        return Space("discrete", space.n)
    if isinstance(space, Vector):
        return Space("vector", space.size)
    return Space("box", space.size, space.low, space.high)
