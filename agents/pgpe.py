"""PGPE: policy gradients with parameter-based exploration.

Sehnke et al. 2010, "Parameter-exploring policy gradients",
https://doi.org/10.1016/j.neunet.2009.12.004; with symmetric sampling, centred ranks and the ClipUp
optimiser as in Toklu, Liskowski & Srivastava 2020, https://arxiv.org/abs/2008.02387
"""

from dataclasses import dataclass

import jax.numpy as jnp

from rlbench.agents._evosax import EvosaxAgent, Strategy
from rlbench.bounds import between, mirrored_pairs, not_negative, positive
from rlbench.types import Params


@dataclass(frozen=True)
class PGPE(EvosaxAgent):
    """PGPE.

    Attributes:
        learning_rate: ClipUp's step size: how far the mean moves in one generation, as a norm.
        max_speed: ClipUp's bound on that with momentum, in learning rates.
        momentum: ClipUp's.
        sigma_learning_rate: of every weight's own sigma.
        sigma_max_change: share of a sigma that a generation may change.
    """

    learning_rate: float = 0.15
    max_speed: float = 2.0
    momentum: float = 0.9
    sigma_learning_rate: float = 0.1
    sigma_max_change: float = 0.2

    def __post_init__(self) -> None:
        """Refuses what cannot be run.

        Raises:
            UsageError: an option is out of its range.
        """
        super().__post_init__()
        mirrored_pairs(self, "pop_size")
        positive(self, "learning_rate", "max_speed")
        not_negative(self, "sigma_learning_rate")
        between(self, 0.0, 1.0, "momentum", "sigma_max_change")

    def strategy(self, weights: Params) -> Strategy:
        """That of evosax."""
        from evosax import algorithms
        from evosax.core.optimizer import clipup

        speed = self.max_speed * self.learning_rate
        optimizer = clipup(self.learning_rate, max_velocity=speed, momentum=self.momentum)
        es = algorithms.PGPE(self.pop_size, weights, optimizer=optimizer)
        params = es.default_params.replace(
            std_init=jnp.float32(self.sigma),
            std_lr=jnp.float32(self.sigma_learning_rate),
            std_max_change=jnp.float32(self.sigma_max_change),
        )
        return Strategy(es, params)
