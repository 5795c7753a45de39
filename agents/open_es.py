"""OpenES: evolution strategies with full-rank Gaussian perturbations.

Salimans et al. 2017, "Evolution Strategies as a Scalable Alternative to Reinforcement Learning",
https://arxiv.org/abs/1703.03864

The strong form: mirrored pairs share one noise matrix, the mean's product is one GEMM for the whole
block, and noise is drawn once a generation.
"""

from dataclasses import dataclass

from rlbench.agents._es import EvolutionStrategy
from rlbench.agents._perturbation import FullRank, Perturbation


@dataclass(frozen=True)
class OpenES(EvolutionStrategy):
    """OpenES."""

    @property
    def perturbation(self) -> Perturbation:
        """All of every matrix."""
        return FullRank()
