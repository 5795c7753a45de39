"""`rlbench compare RUNS_A RUNS_B`: two sets of runs in the terminal. Imports no jax."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlbench.analysis import claims
from rlbench.analysis.cost_tables import MARK, MARKED
from rlbench.analysis.runs import find_runs
from rlbench.analysis.statistics import generator, mean_interval
from rlbench.analysis.tables import between, p_text, share
from rlbench.analysis.tasks import ASPECTS, Comparison, Entry, Task, compare, hardware
from rlbench.display import printable, score
from rlbench.errors import UsageError
from rlbench.flags import flag, parse_flags


@dataclass(frozen=True)
class CompareOptions:
    """Is A better than B: difference, interval and verdict on every task that both have."""

    a: Annotated[str, tyro.conf.Positional, flag("RUNS_A", "required")] = ""
    """Run directories of one algorithm: a folder that holds them, at any depth."""
    b: Annotated[str, tyro.conf.Positional, flag("RUNS_B", "required")] = ""
    """The same of what it is held against."""
    allow_mixed: Annotated[str, flag("hardware", "default: refuse")] = ""
    """Compare returns of runs on several kinds of hardware; times are not compared."""


def compare_command(argv: Sequence[str], prog: str) -> int:
    """`compare`: reads, matches, shows."""
    options = parse_flags(CompareOptions, argv, prog)
    if not options.a or not options.b:
        raise UsageError("say which runs to compare: `rlbench compare RUNS_A RUNS_B`")
    mix = [options.allow_mixed] if options.allow_mixed else []
    a, b = (compare(find_runs([path]).runs, mix) for path in (options.a, options.b))
    matched = match(a, b)
    pair = claims.pair(matched, *matched.labels)
    if pair is None:
        raise UsageError("there is no finished run of both on the same task")
    keys = {task.key for task in matched.tasks}
    alone = [
        f"{task.label}, {task.about} ({name} alone)"
        for name, side in (("RUNS_A", a), ("RUNS_B", b))
        for task in side.tasks
        if task.key not in keys
    ]
    show(matched, pair, alone)
    return 0


def _one_entry(comparison: Comparison, name: str) -> dict[str, tuple[Task, Entry]]:
    """A set's task and entry by the task's key.

    Raises:
        UsageError: it has several algorithms on a task, or none.
    """
    for task in comparison.tasks:
        if len(task.entries) > 1:
            raise UsageError(
                f"{name} holds {len(task.entries)} algorithms or settings on {task.label} "
                f"({', '.join(task.entries)}); give the folder of one of them"
            )
    if not comparison.tasks:
        raise UsageError(f"{name} holds no run that can be read; `rlbench verify` says why")
    algos = {entry.runs[0].algo for task in comparison.tasks for entry in task.entries.values()}
    if len(algos) > 1:
        raise UsageError(f"{name} holds several algorithms ({', '.join(sorted(algos))}); give one")
    return {task.key: (task, next(iter(task.entries.values()))) for task in comparison.tasks}


def match(a: Comparison, b: Comparison) -> Comparison:
    """Both sets as the two entries of each task that they share.

    Raises:
        UsageError: they share none; says what differs.
    """
    ours, theirs = _one_entry(a, "RUNS_A"), _one_entry(b, "RUNS_B")
    labels = _names(ours, theirs)
    tasks = []
    for key, (task, entry) in ours.items():
        if key in theirs:
            pair = (entry, theirs[key][1])
            entries = {
                label: Entry(label, one.runs) for label, one in zip(labels, pair, strict=True)
            }
            runs = [run for one in pair for run in one.runs]
            mixed = any(hardware(run) != hardware(runs[0]) for run in runs)
            tasks.append(replace(task, entries=entries, mixed_hardware=mixed))
    if not tasks:
        raise UsageError(_why_not(a, b))
    return Comparison(tuple(tasks), labels, (*a.left_out, *b.left_out))


def _names(
    ours: dict[str, tuple[Task, Entry]], theirs: dict[str, tuple[Task, Entry]]
) -> tuple[str, str]:
    names = [next(entry.runs[0].algo for _, entry in side.values()) for side in (ours, theirs)]
    if names[0] == names[1]:
        return f"A ({names[0]})", f"B ({names[1]})"
    return names[0], names[1]


def _why_not(a: Comparison, b: Comparison) -> str:
    for task in a.tasks:
        for other in b.tasks:
            if task.env == other.env:
                x, y = (next(iter(one.entries.values())).runs[0] for one in (task, other))
                told = [
                    f"{name} ({tell(x)} and {tell(y)})"
                    for name, (value, tell) in ASPECTS.items()
                    if value(x) != value(y)
                ]
                hint = "; --allow-mixed hardware compares returns alone"
                only = [name for name, (value, _) in ASPECTS.items() if value(x) != value(y)]
                return (
                    f"the runs on {task.env} cannot be compared: they differ in "
                    f"{', '.join(told)}{hint if only == ['hardware'] else ''}"
                )
    envs = [", ".join(sorted({task.env for task in side.tasks})) for side in (a, b)]
    return f"the two have no environment in common: {envs[0]} and {envs[1]}"


def _side(task: Task, label: str) -> list[str]:
    """Name, mean, interval and counts of one entry."""
    entry = task.entries[label]
    values = np.array(entry.scores)
    ends = mean_interval(values, generator("mean", task.label, label))
    told = f"n = {len(values)}"
    told += f", {entry.failures} failed" if entry.failures else ""
    told += f", {entry.unfinished} unfinished" if entry.unfinished else ""
    interval = "" if ends is None else between(float(ends[0]), float(ends[1]))
    return [label, score(float(values.mean())), interval, told]


COLOURS = {claims.BETTER: "green", claims.WORSE: "red", claims.OPEN: "", claims.FEW: "dim"}


def show_task(console: Console, task: Task, pair: claims.Pair, claim: claims.Claim) -> None:
    """Prints both means, their difference and the verdict."""
    # Text, not markup: names come from files.
    console.print(Text(printable(task.label), style="bold"), soft_wrap=True)
    table = Table("", "return", "95 %", "", box=None, header_style="dim")
    for column in table.columns[1:3]:
        column.justify = "right"
    for label in (pair.first, pair.second):
        table.add_row(*(Text(printable(cell)) for cell in _side(task, label)))
    interval = between(*(claim.interval or (None, None)))
    p = "" if claim.adjusted is None else f"p = {p_text(claim.adjusted)} (Holm)"
    table.add_row("difference", score(claim.difference), interval, p)
    console.print(table)
    seeds = " and ".join(f"{n}" for n in claim.seeds)
    told = {
        claims.OPEN: f"{pair.first} and {pair.second} are {claims.OPEN}",
        claims.FEW: f"{claims.FEW} ({seeds}; {claims.FEWEST_SEEDS} of each are needed)",
    }.get(claim.verdict, f"{pair.first} is {claim.verdict}")
    times = f"; time {pair.second} / {pair.first}: {share(claim.speedup)}"
    times += MARK if task.mixed_hardware else ""
    console.print(Text(printable(f"  {told}{times}"), style=COLOURS[claim.verdict]), soft_wrap=True)


def show(comparison: Comparison, pair: claims.Pair, alone: Sequence[str] = ()) -> None:
    """Prints every task, the sentence, and the tasks that one side alone has."""
    console = Console(highlight=False)
    tasks = {task.label: task for task in comparison.tasks}
    for claim in pair.claims:
        show_task(console, tasks[claim.task], pair, claim)
    console.print(Text(printable(claims.in_words(pair)), style="bold"), soft_wrap=True)
    notes = [MARKED] if any(task.mixed_hardware for task in comparison.tasks) else []
    notes += [f"not compared: {note}" for note in alone]
    notes += [f"left out: {run.name}: {why}" for run, why in comparison.left_out]
    for note in notes:
        console.print(Text(printable(note), style="dim"), soft_wrap=True)
