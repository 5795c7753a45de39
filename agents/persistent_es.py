"""PES: persistent evolution strategies, with full-rank Gaussian perturbations.

Vicol, Metz & Sohl-Dickstein 2021, "Unbiased Gradient Estimation in Unrolled Computation Graphs with
Persistent Evolution Strategies", https://arxiv.org/abs/2112.13835

OpenES in truncated unrolls. With low-rank perturbations: `--algo eggroll --set unroll=50`.
"""

from dataclasses import dataclass

from rlbench.agents.open_es import OpenES
from rlbench.bounds import at_least


@dataclass(frozen=True)
class PersistentES(OpenES):
    """PES.

    Attributes:
        unroll: env steps of every member in a generation, whose episodes go on in the next one.
    """

    unroll: int = 50

    def __post_init__(self) -> None:
        """Refuses whole episodes: those are `open_es`.

        Raises:
            UsageError: an option is out of its range.
        """
        super().__post_init__()
        at_least(self, 1, "unroll")
