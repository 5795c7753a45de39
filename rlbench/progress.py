"""Where a run is, for whoever shows it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Progress:
    """A moment of a run.

    Attributes:
        phase: what it is doing.
        fraction: of the budget; above 1 once it is overshot.
        simulated_env_steps: so far.
        train_seconds: so far.
        return_mean: of the newest evaluation, or None before the first.
    """

    phase: Literal["compiling", "evaluating", "training"]
    fraction: float
    simulated_env_steps: int
    train_seconds: float
    return_mean: float | None
