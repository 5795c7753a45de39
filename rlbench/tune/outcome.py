"""How trials ended, and which is best. Imports no jax."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlbench import store
from rlbench.display import duration, printable, quantity, score
from rlbench.errors import UsageError
from rlbench.sweep.claims import Claims
from rlbench.sweep.plan import Job

TOP = 5


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        number: from 0, of its env and algo.
        jobs: its runs, one a tuning seed.
    """

    number: int
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Outcome:
    """A trial that was run.

    Attributes:
        trial: which.
        status: "ok"; else how one of its runs ended.
        score: mean over its runs of the final policy's mean return; None unless all are ok.
        area: the same of the mean over all evaluations, which tells equal scores apart.
        env_steps: simulated, of all its runs.
        train_seconds: of all its runs.
    """

    trial: Trial
    status: str
    score: float | None
    area: float
    env_steps: int
    train_seconds: float


def outcome(root: Path, trial: Trial) -> Outcome | None:
    """How a trial of the sweep in OUT/NAME ended; None if a run of it has not."""
    claimed = Claims.look(root, [job.id for job in trial.jobs])
    statuses = [(claimed[job.id] or {}).get("status", "") for job in trial.jobs]
    if not all(statuses):
        return None
    wrong = next((str(s) for s in statuses if s != "ok"), "")
    finals, areas, env_steps, seconds = list[float](), list[float](), 0, 0.0
    for job in trial.jobs:
        try:
            record = store.read_run(root / job.path)
        except UsageError:
            wrong = wrong or "failed"
            continue
        env_steps += int(record.status.get("simulated_env_steps") or 0)
        seconds += float(record.status.get("train_seconds") or 0.0)
        returns = [row.get("return_mean") for row in record.evaluations]
        finite = [float(x) for x in returns if isinstance(x, int | float)]
        if not returns or len(finite) < len(returns):
            wrong = wrong or "diverged"
            continue
        finals.append(finite[-1])
        areas.append(sum(finite) / len(finite))
    if wrong:
        return Outcome(trial, wrong, None, 0.0, env_steps, seconds)
    score, area = (sum(x) / len(x) for x in (finals, areas))
    return Outcome(trial, "ok", score, area, env_steps, seconds)


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The best first: final return, as the paper ranks; ties by what was learned sooner, then by
    number. Trials that failed are not among them.
    """
    good = [x for x in outcomes if x.score is not None]
    return sorted(good, key=lambda x: (-(x.score or 0.0), -x.area, x.trial.number))


@dataclass(frozen=True)
class Ended:
    """A search that is over, of one env and algo.

    Attributes:
        env: full id.
        algo: name.
        searched: names of the settings that were.
        outcomes: of every trial.
        redrawn: settings that the budget could not hold, which are no trials.
    """

    env: str
    algo: str
    searched: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    redrawn: int

    @property
    def env_steps(self) -> int:
        """Of all trials."""
        return sum(x.env_steps for x in self.outcomes)


def show(searches: Sequence[Ended]) -> None:
    """Prints what every algorithm was given, and what it found."""
    table = Table(
        "env",
        "algo",
        "trials",
        "failed",
        "redrawn",
        "env steps",
        "training",
        f"best {TOP}",
        box=None,
        header_style="bold",
    )
    for column in table.columns[2:7]:
        column.justify = "right"
    for one in searches:
        best = ranked(one.outcomes)
        cells = (
            one.env,
            one.algo,
            str(len(one.outcomes)),
            str(len(one.outcomes) - len(best) or ""),
            str(one.redrawn or ""),
            quantity(one.env_steps),
            duration(sum(x.train_seconds for x in one.outcomes)),
            ", ".join(score(x.score) for x in best[:TOP]) or "none",
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console(width=None if Console().is_terminal else 140, highlight=False).print(table)
