"""One complete episode of a run's final policy, state by state.

Keys, order of draws and arithmetic are those of an evaluation (`rlbench.algorithm.evaluate`), and
the start state is the first that `rlbench play --seed` has: none of the evaluation's.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlbench.meter import Compiled
from rlbench.prepare import Prepared
from rlbench.rollout import Playing, begin, step_lanes
from rlbench.seeding import IMPL, stream


class Episode(NamedTuple):
    """What was played.

    Attributes:
        states: the environment's own, from the start state on: `steps` + 1 of them.
        returned: undiscounted sum of rewards.
        steps: env steps.
        ended: whether the episode ended, by itself or by the time limit; False: it was cut.
    """

    states: list[Any]
    returned: float
    steps: int
    ended: bool


def record(
    prepared: Prepared, state: Any, seed: int, most: int, tell: Callable[[int, int], None]
) -> Episode:
    """Plays one episode and keeps every state.

    Args:
        prepared: whose run.
        state: the algorithm's, that is to play.
        seed: of the start state and of the environment's noise.
        most: env steps after which the episode is cut, if it has not ended.
        tell: called before compilation with zeros, then with the env steps so far and the most
            there can be.

    Returns:
        The episode.
    """
    tell(0, 0)
    env, algorithm, task = prepared.task.env, prepared.algorithm, prepared.task
    most, none = min(most, env.spec.max_steps), jnp.zeros(0)

    def start(key: Any) -> tuple[Playing, Any]:
        reset, mine = jax.vmap(jax.random.split, out_axes=1)(key)
        return begin(*jax.vmap(env.reset)(reset), none), mine

    def step(state: Any, keys: Any, lane: Playing) -> Playing:
        act = jax.vmap(jax.vmap(lambda obs, key: algorithm.act(task, state, obs, key)))
        policy = lambda _, obs, keys: act(obs, keys)  # noqa: E731
        return step_lanes(env, policy, env.spec.max_steps, none, 1, (), keys, lane)

    first = jax.random.fold_in(stream(jax.random.key(seed, impl=IMPL), "play"), 0)[None]
    lane, mine = Compiled(start, first)(first)
    advance = Compiled(step, state, mine, lane)
    states = [lane.state]
    while bool(lane.alive[0]) and len(states) <= most:
        lane = advance(state, mine, lane)
        states.append(lane.state)
        tell(len(states) - 1, most)
    return Episode(states, float(lane.returns[0]), len(states) - 1, not bool(lane.alive[0]))


def pick(episode: Episode, steps: list[int]) -> list[Any]:
    """The environment's states after these env steps (0: the start state), without lanes."""
    return [jax.tree.map(lambda x: x[0], episode.states[i]) for i in steps]
