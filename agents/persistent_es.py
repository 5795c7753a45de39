"""Persistent ES: full-rank evolution strategies that learn from unrolls of episodes in progress.

Vicol, Metz and Sohl-Dickstein 2021, "Unbiased Gradient Estimation in Unrolled Computation Graphs
with Persistent Evolution Strategies", https://arxiv.org/abs/2112.13835

`_unrolls.py` has the estimate. With low-rank perturbations it is `eggroll` with `unroll` set.
"""

from dataclasses import dataclass

from rlbench.agents.open_es import OpenES
from rlbench.bounds import at_least


@dataclass(frozen=True)
class PersistentES(OpenES):
    """Persistent ES.

    Attributes:
        unroll: env steps that every member plays its episode on by in a generation.
    """

    unroll: int = 50

    def __post_init__(self) -> None:
        """Refuses to play whole episodes, which is OpenES.

        Raises:
            UsageError: an option is out of its range.
        """
        super().__post_init__()
        at_least(self, 1, "unroll")
