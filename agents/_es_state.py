"""What the ES family keeps from generation to generation, and shows its members."""

from typing import Any, NamedTuple

from jaxtyping import Array, Int

from rlbench.agents import _perturbation as noises
from rlbench.normalizer import Moments
from rlbench.types import Key, Params

Member = tuple[noises.Noise, Array]
"""What the members in C slots see: their pairs' noise, and its signed scale (C, S) by lane."""


class ESState(NamedTuple):
    """All there is: the noise of any generation is rebuilt from `key` and `generation`.

    `unrolls` holds the episodes in progress of truncated unrolls; otherwise nothing.
    """

    params: Params
    optimizer: Any
    moments: Moments
    generation: Int[Array, ""]
    key: Key
    unrolls: Any = ()
