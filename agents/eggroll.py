"""EGGROLL: evolution strategies with low-rank perturbations.

Sarkar et al. 2025, "Evolution Strategies at the Hyperscale", https://arxiv.org/abs/2511.16652
"""

from dataclasses import dataclass

from rlbench.agents._es import EvolutionStrategy
from rlbench.agents._perturbation import LowRank, Perturbation
from rlbench.bounds import at_least


@dataclass(frozen=True)
class Eggroll(EvolutionStrategy):
    """EGGROLL.

    Attributes:
        rank: rank r of every matrix's perturbation A B^T / sqrt(r).
    """

    rank: int = 1

    def __post_init__(self) -> None:
        """Refuses a rank below 1.

        Raises:
            UsageError: an option is out of its range.
        """
        super().__post_init__()
        at_least(self, 1, "rank")

    @property
    def perturbation(self) -> Perturbation:
        """Rank-r factors."""
        return LowRank(self.rank)
