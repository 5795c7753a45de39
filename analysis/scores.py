"""What a run scores, and on which scale environments can be averaged. Imports no jax.

The score is the final policy's. A run that failed or diverged has none: it counts as random actions
where that was measured, else as its own policy before training, and its status is shown. One that
is unfinished (interrupted, running, skipped) spent another budget: it is shown and not counted.
"""

import math
from dataclasses import dataclass

from rlbench import registry
from rlbench.analysis.runs import Run
from rlbench.errors import UsageError

COUNTED = ("ok", "failed", "diverged")
RULE = (
    "A run's score is the mean return of its final policy, never the best of its evaluations. A "
    "run that failed or diverged counts as random actions (where they were not measured: as its "
    "policy before training). An unfinished run is shown and not counted."
)


def score(run: Run) -> float:
    """The run's score; NaN if it is not counted."""
    if run.state not in COUNTED:
        return math.nan
    if run.state == "ok":
        return float(run.curve.returns[-1])
    measured = registry.scores(run.env).get("random")
    if measured is not None:
        return measured
    return float(run.curve.returns[0]) if run.curve.returns.size else math.nan


@dataclass(frozen=True)
class Scale:
    """Where a normalised score is 0 and where it is 1.

    Attributes:
        random: mean return of uniform random actions.
        reference: a good policy's return.
        source: where the reference is from.
    """

    random: float
    reference: float
    source: str

    def normalise(self, value: float) -> float:
        """(value - random) / (reference - random)."""
        return (value - self.random) / (self.reference - self.random)

    def at(self, share: float) -> float:
        """The return whose normalised score is `share`."""
        return self.random + share * (self.reference - self.random)


def scale_of(env: str) -> Scale | None:
    """The environment's scale; None where random actions or a reference are not known."""
    random = registry.scores(env).get("random")
    try:
        entry = registry.find_env(env)
        default = registry.find_env(entry.base).id
    except UsageError:  # somebody's, and not installed here
        return None
    # A reference is of the default physics backend, the others are other tasks.
    if random is None or entry.reference is None or entry.id != default:
        return None
    return Scale(random, float(entry.reference), entry.reference_source)
