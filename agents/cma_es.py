"""CMA-ES: covariance matrix adaptation.

Hansen 2016, "The CMA Evolution Strategy: A Tutorial", https://arxiv.org/abs/1604.00772; the
separable variant: Ros & Hansen 2008, https://hal.inria.fr/inria-00287367

evosax's separable variant leaves out the paper's factor (d + 2) / 3 on the learning rates of the
covariance, without which a diagonal of thousands hardly adapts; here they have it. And here members
of equal fitness share the mean of their weights.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from rlbench.agents._evosax import EvosaxAgent, Strategy, tied_weights
from rlbench.types import Params

FULL_UP_TO = 1000
"""Weights up to which `auto` adapts a full covariance: every generation decomposes it, in a time
that grows with the cube of their number."""


@dataclass(frozen=True)
class CMAES(EvosaxAgent):
    """CMA-ES.

    Attributes:
        covariance: full, separable (its diagonal), or auto: full up to 1,000 weights.
    """

    covariance: Literal["auto", "full", "separable"] = "auto"

    def strategy(self, weights: Params) -> Strategy:
        """CMA_ES or Sep_CMA_ES of evosax."""
        from evosax.algorithms import CMA_ES, Sep_CMA_ES

        size = sum(x.size for x in jax.tree.leaves(weights))
        full = self.covariance == "full" or (self.covariance == "auto" and size <= FULL_UP_TO)
        make = CMA_ES if full else Sep_CMA_ES
        es = make(self.pop_size, weights, fitness_shaping_fn=tied_weights)
        params = es.default_params.replace(std_init=jnp.float32(self.sigma))
        return Strategy(es, params if full else _faster(params, size))

    @property
    def smaller(self) -> str:
        """What would need less memory."""
        return "covariance=separable, or a smaller network or pop_size"


def _faster(params: Any, size: int) -> Any:
    """Ros & Hansen's learning rates of a diagonal: it has d numbers to learn, not d^2 / 2."""
    c_1 = params.c_1 * (size + 2) / 3
    c_mu = jnp.minimum(params.c_mu * (size + 2) / 3, 1.0 - c_1)
    return params.replace(c_1=c_1, c_mu=c_mu)
