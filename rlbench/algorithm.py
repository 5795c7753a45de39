"""What a baseline implements: three pure functions of a task, and a bound on an update's cost.

An algorithm is a frozen dataclass whose fields are its hyper-parameters. It never measures: steps,
seconds, bytes and returns are the engine's business (`rlbench.runner`).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import jax
from jaxtyping import Array

from rlbench.blocks import Blocks
from rlbench.env import AnyEnv
from rlbench.normalizer import Moments
from rlbench.policy import Policy
from rlbench.rollout import Episodes, play
from rlbench.seeding import Streams
from rlbench.types import Action, Key, Metrics, Obs, Params

State = TypeVar("State")


@dataclass(frozen=True)
class Task:
    """What an algorithm is given: the environment, the shared network, and where blocks run."""

    env: AnyEnv
    policy: Policy
    blocks: Blocks

    def horizon(self, episode_steps: int) -> int:
        """Env steps after which an episode is cut: so many if that is fewer than the env's limit,
        and not 0.
        """
        limit = self.env.spec.max_steps
        return min(limit, episode_steps) if episode_steps else limit


class Algorithm(Protocol[State]):
    """A baseline. Methods are pure and jit-able; `State` is one pytree without hidden parts."""

    def env_steps_per_update(self, task: Task) -> int:
        """The most env steps that one update may simulate."""
        ...

    def init(self, task: Task, keys: Streams) -> State:
        """The state before the first update. Initial weights are `task.policy.init(keys.init)`."""
        ...

    def step(self, task: Task, state: State) -> tuple[State, Metrics]:
        """One update. Metrics hold at least `rlbench.rollout.step_metrics` of its episodes.

        The others are scalars. One whose name begins with `fitness_` is of what the population
        scored: if it is not finite the run ends as diverged, as it does if the state is not
        (`rlbench.finite`). A weight by rank would hide it.
        """
        ...

    def act(self, task: Task, state: State, obs: Obs, key: Key) -> Action:
        """The evaluation policy, observation normaliser included: its deterministic action."""
        ...


AnyAlgorithm = Algorithm[Any]


@runtime_checkable
class PlaysNetwork(Protocol):
    """What an algorithm may have besides: its `act` is the shared network's mode, so that its
    policy can leave the harness (`rlbench export`).
    """

    def network(self, task: Task, state: Any) -> tuple[Params, Moments | None]:
        """The weights of the shared network whose mode `act` is, and the moments its observations
        are normalised by; None if they are not.
        """
        ...


@runtime_checkable
class SizedBySetting(Protocol):
    """What an algorithm may have besides: the name of the setting, an integer, with which its
    memory grows. A run that does not fit is then told a value that does.
    """

    memory_setting: ClassVar[str]


def evaluate(algorithm: AnyAlgorithm, task: Task, state: Any, keys: Array) -> Episodes:
    """Plays one complete episode a key with the algorithm's evaluation policy.

    Args:
        algorithm: whose `act` is evaluated.
        task: on which environment, and in what queues.
        state: the algorithm's state.
        keys: (episodes,) from `rlbench.seeding.evaluation_keys`.

    Returns:
        Episodes in the order of the keys, `returns` and `lengths` as (episodes,); `simulated` has
        one entry a queue.
    """
    queues, size = task.blocks.split(keys.shape[0], 1)
    slots = task.blocks.slots(size, 1)

    def queue(state: Any, keys: Array) -> Episodes:
        act = jax.vmap(jax.vmap(lambda obs, key: algorithm.act(task, state, obs, key)))
        return play(
            task.env,
            lambda _, obs, keys: act(obs, keys),
            keys[:, None],
            horizon=task.env.spec.max_steps,
            slots=slots,
            refill_at=task.blocks.refill_at(slots),
        )

    out: Episodes = task.blocks.map(queue, state, keys.reshape(queues, size))
    return out._replace(returns=out.returns.reshape(-1), lengths=out.lengths.reshape(-1))
