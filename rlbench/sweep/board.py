"""What a person sees of a sweep: its plan, and where it is. Imports no jax."""

import threading
import time
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlbench.display import duration, printable, quantity
from rlbench.flags import value_of
from rlbench.sweep.plan import Job

PLAIN_SECONDS = 30.0
"""Without a terminal: seconds between lines."""
START_SECONDS = 4.0
"""Of a process, until it has jax."""
ENDED = ("ok", "failed", "diverged", "skipped")
KINDS = (*ENDED, "running")


@cache
def speeds() -> dict[str, dict[str, list[float]]]:
    """By full env id and algo: env steps a training second on one core, and seconds besides."""
    text = files("rlbench.sweeps").joinpath("speeds.toml").read_text(encoding="utf-8")
    found: dict[str, dict[str, list[float]]] = tomllib.loads(text)["speed"]
    return found


def estimate(job: Job) -> float | None:
    """Seconds a cell may take on one core; None where it is unknown, as with other settings than
    the laptop's.
    """
    known = speeds().get(job.env, {}).get(job.algo)
    profile = value_of(job.flags, "--settings") or "laptop"
    if known is None or job.device != "cpu" or profile != "laptop":
        return None
    rate, besides = known
    limits = [job.budget_env_steps / rate] if job.budget_env_steps else []
    limits += [job.budget_seconds] if job.budget_seconds else []
    return START_SECONDS + min(limits) + besides


def in_words(seconds: Sequence[float | None], jobs: int) -> str:
    """How long cells will take, as hours and how many are not known."""
    known = [x for x in seconds if x is not None]
    told = f"about {duration(sum(known) / jobs)} with {jobs} at a time" if known else ""
    lacking = len(seconds) - len(known)
    if lacking:
        told += f"{' and ' if told else ''}an unknown time for {lacking:,} of unmeasured speed"
    return told or "nothing to do"


def show_plan(jobs: Sequence[Job], states: Mapping[str, Any], at_once: int) -> None:
    """Prints every env and algo: cells, budgets, what is done, and how long the rest may take."""
    table = Table("env", "algo", "cells", "budget", "done", "left, one core", box=None)
    for column in table.columns[2:]:
        column.justify = "right"
    left_all: list[float | None] = []
    for (env, algo), group in grouped(jobs).items():
        left = [estimate(job) for job in group if not states[job.id]]
        left_all += left
        budgets = sorted({_budget(job) for job in group})
        unknown = "unknown" if None in left else duration(sum(x for x in left if x))
        cells = (
            env,
            algo,
            str(len(group)),
            " ".join(budgets),
            str(len(group) - len(left)),
            unknown,
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    console.print(table)
    console.print(f"{len(jobs):,} cells, {len(left_all):,} left: {in_words(left_all, at_once)}")


def _budget(job: Job) -> str:
    if job.budget_env_steps:
        return quantity(job.budget_env_steps)
    return f"{job.budget_seconds:g} s"


def grouped(jobs: Sequence[Job]) -> dict[tuple[str, str], list[Job]]:
    """By env and algo, in the sweep's order."""
    groups: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        groups[job.env, job.algo].append(job)
    return dict(groups)


class Board:
    """A live table on a terminal, a line every half minute elsewhere."""

    def __init__(
        self, jobs: Sequence[Job], states: Mapping[str, Any], at_once: int, total: int = 0
    ) -> None:
        """Takes the cells of this process and how those that are done ended.

        Args:
            jobs: that are known; others may come.
            states: of these.
            at_once: how many run at a time.
            total: how many there will be, if more than are known.
        """
        self._jobs, self._at_once, self._total = list(jobs), at_once, max(total, len(jobs))
        self._states = {job.id: (states[job.id] or {}).get("status", "") for job in jobs}
        self._begun, self._seconds = (
            dict[str, float](),
            defaultdict[tuple[str, str], list[float]](list),
        )
        self._lock, self._next = threading.Lock(), 0.0
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, transient=True, get_renderable=self._table)

    def __enter__(self) -> "Board":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def tell(self, job: Job, what: str) -> None:
        """A cell's state has changed."""
        now = time.monotonic()
        with self._lock:
            if job.id not in self._states:
                self._jobs.append(job)
            self._states[job.id] = what
            if what == "running":
                self._begun[job.id] = now
            elif job.id in self._begun:
                self._seconds[job.env, job.algo].append(now - self._begun.pop(job.id))
            if self._console.is_terminal or (now < self._next and what != "failed"):
                return
            self._next = now + PLAIN_SECONDS
            line = f"{job.algo} on {job.env}, seed {job.seed}: {what}; {self._line()}"
        self._console.print(printable(line), markup=False, soft_wrap=True)

    def counts(self) -> dict[str, int]:
        """How many cells are in each state."""
        states = list(self._states.values())
        return {kind: states.count(kind) for kind in KINDS}

    def _line(self) -> str:
        told = [f"{count} {kind}" for kind, count in self.counts().items() if count]
        return f"{', '.join(told)} of {self._total:,}, ETA {self._eta()}"

    def _eta(self) -> str:
        """From cells like it that are done, or from recorded speeds."""
        left: list[float] = []
        for job in self._jobs:
            if self._states[job.id] in ENDED:
                continue
            like = self._seconds.get((job.env, job.algo))
            guess = sum(like) / len(like) if like else estimate(job)
            if guess is None:
                return "-"
            left.append(guess)
        unknown = self._total - len(self._jobs)
        if unknown:
            seen = [x for like in self._seconds.values() for x in like]
            if not seen:
                return "-"
            left += [sum(seen) / len(seen)] * unknown
        return duration(sum(left) / self._at_once)

    def _table(self) -> Table:
        table = Table("env", "algo", *KINDS, "left", box=None, header_style="bold")
        with self._lock:
            for (env, algo), group in grouped(self._jobs).items():
                states = [self._states[job.id] for job in group]
                counts = [states.count(kind) for kind in KINDS]
                left = len(group) - sum(counts)
                cells = (env, algo, *(str(n or "") for n in counts), str(left or ""))
                table.add_row(*(Text(printable(cell)) for cell in cells))
            table.caption = self._line()
        return table
