"""SNES: separable natural evolution strategies.

Wierstra et al. 2014, "Natural Evolution Strategies", https://jmlr.org/papers/v15/wierstra14a.html
(its Algorithm 6 and Table 1; evosax's implementation, but that members of equal fitness share the
mean of their utilities)
"""

from dataclasses import dataclass

import jax.numpy as jnp
import optax

from rlbench.agents._evosax import EvosaxAgent, Strategy, tied_weights
from rlbench.bounds import not_negative, positive
from rlbench.types import Params


@dataclass(frozen=True)
class SNES(EvosaxAgent):
    """SNES.

    Attributes:
        learning_rate: of the mean, in natural units; the paper's is 1.
        sigma_learning_rate: of the log of sigma; 0 for the paper's (3 + ln d) / (5 sqrt d).
    """

    learning_rate: float = 1.0
    sigma_learning_rate: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what cannot be run.

        Raises:
            UsageError: an option is out of its range.
        """
        super().__post_init__()
        positive(self, "learning_rate")
        not_negative(self, "sigma_learning_rate")

    def strategy(self, weights: Params) -> Strategy:
        """That of evosax."""
        from evosax import algorithms

        es = algorithms.SNES(
            self.pop_size,
            weights,
            optimizer=optax.sgd(self.learning_rate),
            fitness_shaping_fn=tied_weights,
        )
        params = es.default_params.replace(std_init=jnp.float32(self.sigma))
        if self.sigma_learning_rate:
            params = params.replace(lr_std_init=jnp.float32(self.sigma_learning_rate))
        return Strategy(es, params)
