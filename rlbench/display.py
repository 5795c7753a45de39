"""What a person sees while a run goes on, and the lists of environments and agents."""

import re
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
)
from rich.progress import (
    Progress as Bar,
)
from rich.table import Table
from rich.text import Text

from rlbench import plugins, registry
from rlbench.config import RunConfig
from rlbench.progress import Progress

PLAIN_SECONDS = 10.0
"""Without a terminal: seconds between progress lines."""


def duration(seconds: float) -> str:
    """As 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def quantity(number: float) -> str:
    """As 3.84M, 41.2k or 512."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= factor:
            return f"{number / factor:.3g}{unit}"
    return f"{number:.3g}"


def score(value: float | None) -> str:
    """A return as tables show it."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text from a file, without control characters and marks that turn the direction of writing."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def describe(progress: Progress, compiling_since: float) -> str:
    """The progress line: return, steps, rate, ETA."""
    if progress.phase == "compiling":
        return f"compiling, {time.monotonic() - compiling_since:.0f} s"
    parts = []
    if progress.return_mean is not None:
        parts.append(f"return {score(progress.return_mean)}")
    parts.append(f"{quantity(progress.simulated_env_steps)} env steps")
    if progress.train_seconds > 0:
        parts.append(f"{quantity(progress.simulated_env_steps / progress.train_seconds)} steps/s")
        left = progress.train_seconds * (1 / max(progress.fraction, 1e-9) - 1)
        parts.append(f"ETA {duration(max(left, 0.0))}")
    if progress.phase == "evaluating":
        parts.append("evaluating")
    return " · ".join(parts)


class _Line(ProgressColumn):
    """Drawn anew by rich's own thread, so that it moves while XLA compiles."""

    def render(self, task: Task) -> Text:
        progress = task.fields["progress"]
        return Text(describe(progress, task.fields["since"]) if progress else "starting")


class Display:
    """Progress on stderr: a live bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, config: RunConfig, quiet: bool) -> None:
        """Says what is run."""
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._since = time.monotonic()
        self._next_line = 0.0
        self._bar: Bar | None = None
        self._phase = ""
        if quiet:
            return
        self._console.print(
            f"{config.algo} on {config.env}, seed {config.seed}, network {config.network}, "
            f"{_budget(config)}",
            markup=False,
        )
        self._console.print(config.settings_source, style="dim", markup=False, soft_wrap=True)
        if self._console.is_terminal:
            columns = (SpinnerColumn(), BarColumn(24), TextColumn("{task.percentage:>3.0f}%"))
            self._bar = Bar(*columns, _Line(), console=self._console, transient=True)
            self._task = self._bar.add_task("", total=1.0, progress=None, since=self._since)

    def __enter__(self) -> "Display":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Shows where the run is."""
        if self._bar:
            done = min(progress.fraction, 1.0)
            self._bar.update(self._task, completed=done, progress=progress)
        elif not self._quiet:
            self._plain(progress)

    def _plain(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next_line and progress.phase != "compiling":
            return
        self._next_line = now + PLAIN_SECONDS
        share = f"{min(progress.fraction, 1.0):4.0%}  "
        self._console.print(share + describe(progress, self._since), markup=False)


def _budget(config: RunConfig) -> str:
    limits = []
    if config.budget_env_steps:
        limits.append(f"{quantity(config.budget_env_steps)} env steps")
    if config.budget_seconds:
        limits.append(f"{config.budget_seconds:g} s of training")
    return "budget " + " or ".join(limits)


def show_envs() -> None:
    """Every environment: what works, its budget and scores; then what cannot work, and why."""
    table = Table(
        "id",
        "alias",
        "other backends",
        "max steps",
        "budget",
        "random",
        "do nothing",
        "reference",
        box=None,
        header_style="bold",
    )
    for column in table.columns[:2]:
        column.no_wrap = True
        column.overflow = "fold"
    for column in table.columns[3:]:
        column.justify = "right"
    for e in registry.env_entries():
        scores = registry.scores(e.id)
        table.add_row(
            e.id,
            e.alias,
            " ".join(e.backends[1:]),
            f"{e.max_steps:,}",
            quantity(e.budget),
            score(scores.get("random")),
            score(scores.get("do_nothing")),
            score(e.reference),
        )
    for plugin in plugins.announced("env"):
        table.add_row(Text(plugin.name), "", "", "", "", "", "", Text(f"of {plugin.owner}"))
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    console.print(table)
    for name, reason in registry.refused_envs().items():
        console.print(f"\nnot usable: {name}: {reason}", style="dim", markup=False)


def show_agents() -> None:
    """Every agent."""
    table = Table("agent", "what", "source", box=None, header_style="bold")
    for entry in registry.agent_entries():
        table.add_row(entry.name, entry.about, entry.source)
    table.add_row("evosax/NAME", " ".join(registry.bridged()["names"]), "as evosax ships them")
    for plugin in plugins.announced("agent"):
        table.add_row(Text(plugin.name), Text(f"of {plugin.owner}"), Text(plugin.path))
    Console(width=None if Console().is_terminal else 160, highlight=False).print(table)
