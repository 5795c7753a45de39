"""What a reproduction is: data that were measured, a stated rule, and the verdict that follows.
Imports no jax.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlbench.analysis.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # which takes half a second to import

AGREE, DIFFER, UNTESTED = "agree", "differ", "not testable here"
VERDICTS = (AGREE, DIFFER, UNTESTED)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One measurement, made in a process of its own.

    Attributes:
        name: unique within the reproduction.
        params: what its function was given.
        samples: by variant, one number a round.
        values: whatever else it tells.
    """

    name: str
    params: Mapping[str, Any]
    samples: Mapping[str, Sequence[float]]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Data:
    """All that a verdict may look at.

    Attributes:
        scale: "small", "laptop" or "paper".
        cases: by name, those that were measured; a failed one is not here.
        runs: of a sweep.
        hardware: of the machine that measured the cases, as provenance.json has it.
    """

    scale: str
    cases: Mapping[str, Case]
    runs: Sequence[Run]
    hardware: Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One claim of the paper's with what was found.

    Attributes:
        claim: what the paper says, in a sentence.
        where: its place there.
        verdict: one of `VERDICTS`.
        measured: what was measured, with its figures and their uncertainty, in a sentence.
        rule: by which rule the verdict follows from the data, in a sentence.
    """

    claim: str
    where: str
    verdict: str
    measured: str
    rule: str

    def __post_init__(self) -> None:
        """Refuses a verdict that is none.

        Raises:
            ValueError: it is not one of `VERDICTS`.
        """
        if self.verdict not in VERDICTS:
            raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}, not {self.verdict!r}")


@dataclass(frozen=True)
class Reproduction:
    """One entry of `rlbench reproduce list`, beside sweeps/claims/NAME.toml, which says what to
    measure.

    Attributes:
        title: what it shows.
        judge: the findings that follow from the data, by rules that can come out either way.
        draw: the figure; drawn within `style.styled()`.
        rows: the data behind the figure, every row with the same columns.
        chosen: what the paper does not say and we chose, a sentence each.
        limits: what the laptop scale cannot show, in a sentence.
    """

    title: str
    judge: Callable[[Data], Sequence[Finding]]
    draw: Callable[[Data], "Figure"]
    rows: Callable[[Data], Sequence[Row]]
    chosen: Sequence[str] = ()
    limits: str = ""
