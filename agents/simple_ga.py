"""Simple GA: a genetic algorithm of truncation selection, Gaussian mutation and one elite.

Such et al. 2017, "Deep Neuroevolution", https://arxiv.org/abs/1712.06567

evosax's has no elite, which the paper's has: its best member plays on unchanged.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import optax

from rlbench.agents._evosax import EvosaxAgent, Strategy
from rlbench.bounds import between, positive
from rlbench.types import Params


@dataclass(frozen=True)
class SimpleGA(EvosaxAgent):
    """Simple GA; the evaluation plays the newest population's best member.

    Attributes:
        sigma: standard deviation of a mutation, and of the first population.
        sigma_decay: factor on sigma every generation.
        elite_ratio: share of the population, the best, that parents are drawn from.
        crossover_rate: share of its weights that a child has from a second parent; 0 in the paper.
    """

    sigma: float = 0.05
    sigma_decay: float = 1.0
    elite_ratio: float = 0.1
    crossover_rate: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what cannot be run.

        Raises:
            UsageError: an option is out of its range.
        """
        super().__post_init__()
        positive(self, "sigma_decay", "elite_ratio")
        between(self, 0.0, 1.0, "elite_ratio", "crossover_rate")

    def strategy(self, weights: Params) -> Strategy:
        """That of evosax, with an elite."""
        from evosax import algorithms

        class Elitist(algorithms.SimpleGA):  # type: ignore[misc]
            def _ask(self, key: Any, state: Any, params: Any) -> Any:
                children, state = super()._ask(key, state, params)
                best = state.population[jnp.argmin(state.fitness)]
                return children.at[0].set(best), state

        schedule = optax.exponential_decay(self.sigma, 1, self.sigma_decay)
        es = Elitist(self.pop_size, weights, std_schedule=schedule)
        es.elite_ratio = self.elite_ratio
        params = es.default_params.replace(crossover_rate=jnp.float32(self.crossover_rate))
        return Strategy(es, params)
