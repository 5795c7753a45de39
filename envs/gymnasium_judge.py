"""Gymnasium's own environments as judges of an exported policy. Imports no jax.

Episodes are Gymnasium's: its reset with a seed, its dynamics in float64, its `terminated` and
`truncated`. Any registered environment can judge whose spaces are the policy's.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbench.card import Space, check_spaces
from rlbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from rlbench.exported import ExportedPolicy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies' deprecations on import
    import gymnasium
    from gymnasium import spaces


class GymnasiumJudge:
    """One Gymnasium environment.

    Attributes:
        id: as `--env` names it, e.g. `gymnasium/CartPole-v1`.
        library: name and version.
        max_steps: its time limit in env steps, or None.
    """

    def __init__(self, name: str, policy: "ExportedPolicy") -> None:
        """Makes the environment.

        Args:
            name: Gymnasium's own id, e.g. `CartPole-v1`.
            policy: who is to play.

        Raises:
            UsageError: there is no such environment, it cannot be made here, or its spaces are not
                the policy's.
        """
        self.id, self.library = f"gymnasium/{name}", f"gymnasium {gymnasium.__version__}"
        if name not in gymnasium.registry:
            raise UsageError(f"gymnasium has no env {name!r}; {_offer(name)}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that there is a newer version of the environment
                # Its checker would warn of what is no mistake here, and slow every step.
                self._env = gymnasium.make(name, disable_env_checker=True)
        except (ImportError, gymnasium.error.Error) as error:
            reason = str(error).partition("\n")[0]
            raise UsageError(f"env {self.id!r} cannot be made here: {reason}") from None
        self.max_steps = self._env.spec.max_episode_steps if self._env.spec else None
        self._policy = policy
        observation = _space(self._env.observation_space, "vector")
        check_spaces(policy.card, self.id, observation, _space(self._env.action_space, "box"))

    def play(
        self, episodes: int, seed: int, tell: Callable[[int, int], None]
    ) -> tuple[list[float], list[int]]:
        """Plays complete episodes.

        Args:
            episodes: how many.
            seed: of the first episode's reset; the next has the next.
            tell: called with the number of ended episodes and of env steps so far.

        Returns:
            Undiscounted returns, and lengths in env steps.
        """
        returns: list[float] = []
        lengths: list[int] = []
        steps = 0
        for episode in range(episodes):
            rewards = []
            for reward in self._episode(seed + episode):
                rewards.append(reward)
                steps += 1
                if steps % 1000 == 0:
                    tell(episode, steps)
            returns.append(float(np.sum(rewards)))
            lengths.append(len(rewards))
            tell(episode + 1, steps)
        self._env.close()
        return returns, lengths

    def _episode(self, seed: int) -> Iterator[float]:
        """The rewards of one episode."""
        obs, _ = self._env.reset(seed=seed)
        over = False
        while not over:
            obs, reward, terminated, truncated, _ = self._env.step(self._action(obs))
            over = terminated or truncated
            yield float(reward)

    def _action(self, obs: Any) -> Any:
        if self._policy.card.observation.kind == "vector":
            obs = np.asarray(obs, np.float32).reshape(-1)
        action = self._policy.act(obs)
        if self._policy.card.action.kind == "discrete":
            return int(action)
        return action.reshape(self._env.action_space.shape)


def _offer(name: str) -> str:
    offer = nearest(name, gymnasium.registry)
    if offer.startswith("did"):
        return offer
    return "gymnasium.registry holds the choices, such as 'CartPole-v1'"


def _space(space: Any, of_box: Any) -> Space | str:
    """As a card has it; in words where a card could not."""
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return Space("discrete", int(space.n))
    if isinstance(space, spaces.Box):
        size = int(np.prod(space.shape))
        if of_box == "vector":
            return Space("vector", size)
        low, high = (tuple(map(float, x.ravel())) for x in (space.low, space.high))
        if np.isfinite([low, high]).all():
            return Space("box", size, low, high)
    return str(space)
