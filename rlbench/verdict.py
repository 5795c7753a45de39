"""What a judge found: an exported policy's score in another environment beside its run's."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from rlbench.card import Card
from rlbench.comparison import Interval, Sample

SCHEMA = 1


@dataclass(frozen=True)
class Verdict:
    """What was played, beside the run's final evaluation.

    Attributes:
        env: where.
        library: its name and version.
        seed: of the first episode.
        returns: undiscounted, of every complete episode.
        lengths: in env steps.
        seconds: of play.
        played: the returns, in short.
        played_interval: 95 %, of their mean.
        run: the run's final evaluation.
        run_interval: 95 %, of its mean.
        difference: of the means, played minus run.
        difference_interval: Welch's, 95 %.
        agree: whether that holds zero, rounding apart.
        notes: where the two versions of the task are known to differ.
    """

    env: str
    library: str
    seed: int
    returns: list[float]
    lengths: list[int]
    seconds: float
    played: Sample
    played_interval: Interval | None
    run: Sample
    run_interval: Interval | None
    difference: float
    difference_interval: Interval | None
    agree: bool | None
    notes: list[str]


def figure(value: float) -> str:
    """With the digits that a difference shows in."""
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _between(interval: Interval | None) -> str:
    return "-" if interval is None else f"{figure(interval[0])} .. {figure(interval[1])}"


def show(card: Card, verdict: Verdict) -> None:
    """Prints the scores side by side, and whether they agree."""
    console = Console(highlight=False)
    title = f"{card.algo} of {card.env}, seed {card.seed}, network {card.network}"
    console.print(title, style="bold", markup=False)
    table = Table("where", "return", "95 %", "std", "episodes", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for where, x, interval in (
        (verdict.env, verdict.played, verdict.played_interval),
        ("the run's final evaluation", verdict.run, verdict.run_interval),
    ):
        table.add_row(where, figure(x.mean), _between(interval), figure(x.std), str(x.n))
    console.print(table)
    console.print(_sentence(verdict), markup=False, soft_wrap=True)
    for note in verdict.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    last = verdict.seed + len(verdict.returns) - 1
    steps = f"{sum(verdict.lengths):,} env steps, {verdict.seconds:.1f} s"
    console.print(
        f"{verdict.library}, seeds {verdict.seed} to {last}, {steps}", style="dim", markup=False
    )


def _sentence(verdict: Verdict) -> str:
    told = f"difference {figure(verdict.difference)}"
    if verdict.difference_interval is None:
        return f"{told}; a single episode has no interval"
    told += f" (95 %: {_between(verdict.difference_interval)}, Welch): "
    if verdict.agree:
        return told + "they agree"
    return told + "they differ (one comparison of equals in twenty does)"


def to_json(card: Card, verdict: Verdict) -> dict[str, Any]:
    """What `--out` holds."""
    of = {"env": card.env, "algo": card.algo, "seed": card.seed, "state_sha256": card.state_sha256}
    return {"schema": SCHEMA, "policy": of, **asdict(verdict)}
