"""A report's tables: what stands in them, once for every format. Imports no jax."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlbench.analysis.claims import BETTER, OPEN, WORSE
from rlbench.analysis.findings import Findings, Summary
from rlbench.analysis.statistics import AGGREGATES, Interval
from rlbench.analysis.tasks import Entry, Task
from rlbench.display import score

Values = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        values: plain numbers and words, by column name of the CSV file; None where unknown.
        task: label of the task it is about; empty if of several.
        label: of the entry it is about; empty if of several.
        sides: labels of the entries that columns of these titles are about, if it is of several.
    """

    values: Values
    task: str = ""
    label: str = ""
    sides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """How a column is shown to people.

    Attributes:
        title: its head.
        text: the cell.
        key: what it is sorted by; empty to sort by the text.
    """

    title: str
    text: Callable[[Values], str]
    key: str = ""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: of its files.
        title: above it.
        note: what a reader must know, in a sentence or two.
        columns: for people; the files for machines have every value.
        rows: in order.
    """

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def finite(value: float) -> float | None:
    """The number, or None where it is not known."""
    return value if math.isfinite(value) else None


def _ends(prefix: str, interval: Interval | None) -> Values:
    low, high = interval or (None, None)
    return {f"{prefix}low": low, f"{prefix}high": high}


def between(low: float | None, high: float | None) -> str:
    """An interval as tables show it."""
    return "" if low is None or high is None else f"[{score(low)}, {score(high)}]"


def share(value: float | None) -> str:
    """A normalised score or a probability."""
    return "-" if value is None else f"{value:.2f}"


def plain(name: str) -> Callable[[Values], str]:
    """A column's value as it is."""
    return lambda row: str(row[name])


TASK = Column("task", plain("task"))
ALGORITHM = Column("algorithm", plain("algorithm"))


def each(findings: Findings) -> Iterator[tuple[Task, Entry, Summary]]:
    """Every task, with every entry of it and what was computed of it."""
    for task in findings.comparison.tasks:
        for label, entry in task.entries.items():
            yield task, entry, findings.summaries[task.label, label]


def row_of(task: Task, entry: Entry, **values: Any) -> Row:
    """A row about one entry of one task."""
    return Row({"task": task.label, "algorithm": entry.label, **values}, task.label, entry.label)


def returns(findings: Findings) -> Table:
    """Final returns."""
    rows = [
        row_of(
            task,
            entry,
            mean=finite(one.mean),
            **_ends("", one.interval),
            n=one.n,
            failed=entry.failures,
            unfinished=entry.unfinished,
            normalised=finite(one.normalised),
            random=task.scale.random if task.scale else None,
            reference=task.scale.reference if task.scale else None,
        )
        for task, entry, one in each(findings)
    ]
    columns = (
        TASK,
        ALGORITHM,
        Column("final return", lambda row: score(row["mean"]), "mean"),
        Column("95 %", lambda row: between(row["low"], row["high"]), "low"),
        Column("n", lambda row: f"{row['n']}{'*' if row['n'] < 5 else ''}", "n"),
        Column("failed", plain("failed"), "failed"),
        Column("unfinished", plain("unfinished"), "unfinished"),
        Column("normalised", lambda row: share(row["normalised"]), "normalised"),
    )
    note = (
        "Mean over seeds of the final policy's return, with its 95 % bootstrap interval (expanded "
        "percentiles). Normalised: 0 is random actions, 1 the reference. * fewer than 5 seeds."
    )
    return Table("returns", "Final return", note, columns, tuple(rows))


def aggregates(findings: Findings) -> Table:
    """Normalised scores over all tasks."""
    suite = findings.suite
    rows = []
    for label in suite.labels:
        values: Values = {"algorithm": label, "tasks": len(suite.tasks)}
        values["runs"] = sum(len(task.entries[label].counted) for task in suite.tasks)
        for name in AGGREGATES:
            value, interval = findings.aggregates[label, name]
            slug = name.replace(" ", "_")
            values |= {slug: value, **_ends(f"{slug}_", interval)}
        rows.append(Row(values, label=label))

    def column(name: str) -> Column:
        slug = name.replace(" ", "_")

        def text(row: Values) -> str:
            low, high = row[f"{slug}_low"], row[f"{slug}_high"]
            ends = "" if low is None else f" [{share(low)}, {share(high)}]"
            return share(row[slug]) + ends

        return Column(name, text, slug)

    columns = (ALGORITHM, *map(column, AGGREGATES), Column("tasks", plain("tasks"), "tasks"))
    columns += (Column("runs", plain("runs"), "runs"),)
    note = "Of normalised scores, with 95 % stratified bootstrap intervals. " + (
        f"{suite.why[0].upper()}{suite.why[1:]}." if suite.why else ""
    )
    return Table("aggregates", "Over all tasks", note.strip(), columns, tuple(rows))


def pairs(findings: Findings) -> Table:
    """Pairwise claims."""
    rows = [
        Row(
            {
                "first": pair.first,
                "second": pair.second,
                "task": claim.task,
                "difference": claim.difference,
                **_ends("", claim.interval),
                "p": claim.p,
                "p_holm": claim.adjusted,
                "verdict": claim.verdict,
                "seeds_first": claim.seeds[0],
                "seeds_second": claim.seeds[1],
                "speedup": claim.speedup,
            },
            claim.task,
            sides={"A": pair.first, "B": pair.second},
        )
        for pair in findings.pairs
        for claim in pair.claims
    ]
    columns = (
        Column("A", plain("first")),
        Column("B", plain("second")),
        TASK,
        Column("A - B", lambda row: score(row["difference"]), "difference"),
        Column("95 %", lambda row: between(row["low"], row["high"]), "low"),
        Column("p (Holm)", lambda row: p_text(row["p_holm"]), "p_holm"),
        Column("A is", plain("verdict")),
        Column("time B / A", lambda row: share(row["speedup"]), "speedup"),
    )
    note = (
        f"{BETTER.capitalize()} or {WORSE} by Welch's test at 5 % after Holm's correction over the "
        f"pair's tasks, else {OPEN}; the interval is of this task alone, without the correction."
    )
    return Table("pairs", "Pair by pair", note, columns, tuple(rows))


def p_text(p: float | None) -> str:
    """A p-value."""
    if p is None:
        return "-"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"
