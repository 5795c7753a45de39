"""ARS: augmented random search.

Mania, Guy & Recht 2018, "Simple random search provides a competitive approach to reinforcement
learning", https://arxiv.org/abs/1803.07055

Version V2 normalises observations and V1 does not; both have a variant V1-t, V2-t that keeps only
the best directions. The paper's policy is linear: `--set hidden=[]`.
"""

from dataclasses import dataclass

import optax

from rlbench.agents._evosax import EvosaxAgent, Strategy
from rlbench.bounds import at_least, mirrored_pairs, positive
from rlbench.errors import UsageError
from rlbench.types import Params


@dataclass(frozen=True)
class ARS(EvosaxAgent):
    """ARS.

    Attributes:
        normalize_observations: true is ARS V2, false V1.
        learning_rate: alpha, in units of sigma's directions; plain gradient ascent.
        top_directions: b, the directions that count, by the better of their two members; 0 for all.
        lr_decay: factor on the learning rate every generation.
    """

    normalize_observations: bool = True
    learning_rate: float = 0.02
    top_directions: int = 0
    lr_decay: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what cannot be run.

        Raises:
            UsageError: an option is out of its range.
        """
        super().__post_init__()
        mirrored_pairs(self, "pop_size")
        positive(self, "learning_rate", "lr_decay")
        at_least(self, 0, "top_directions")
        if self.top_directions > self.pop_size // 2:
            raise UsageError(
                f"top_directions must be at most pop_size / 2 = {self.pop_size // 2}, not "
                f"{self.top_directions}"
            )

    def strategy(self, weights: Params) -> Strategy:
        """That of evosax, with the paper's step instead of Adam's."""
        from evosax import algorithms

        es = algorithms.ARS(
            self.pop_size,
            weights,
            optimizer=optax.sgd(optax.exponential_decay(self.learning_rate, 1, self.lr_decay)),
            std_schedule=optax.constant_schedule(self.sigma),
        )
        # evosax rounds down a product of floats: the half keeps b from becoming b - 1.
        es.elite_ratio = (2 * (self.top_directions or self.pop_size // 2) + 0.5) / self.pop_size
        return Strategy(es, es.default_params)
