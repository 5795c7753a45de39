"""EGGROLL: evolution strategies with low-rank perturbations.

Sarkar et al. 2025, "Evolution Strategies at the Hyperscale", https://arxiv.org/abs/2511.16652
"""

from dataclasses import dataclass

from rlbench.agents._es import EvolutionStrategy
from rlbench.agents._perturbation import LowRank, Perturbation
from rlbench.errors import UsageError


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
        if self.rank < 1:
            raise UsageError(f"rank must be at least 1, not {self.rank}")

    @property
    def perturbation(self) -> Perturbation:
        """Rank-r factors."""
        return LowRank(self.rank)
