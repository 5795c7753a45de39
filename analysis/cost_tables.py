"""A report's tables of times, steps, memory and targets. Imports no jax."""

from collections.abc import Callable, Sequence

from rlbench.analysis.findings import MEMORY, Findings
from rlbench.analysis.tables import (
    ALGORITHM,
    TASK,
    Column,
    Table,
    Values,
    aggregates,
    each,
    finite,
    pairs,
    returns,
    row_of,
)
from rlbench.display import quantity, score

MARK = "†"
MARKED = f"{MARK} runs on several kinds of hardware: times and memory must not be compared"


def seconds(value: float | None) -> str:
    """A duration in seconds."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def amount(value: float | None) -> str:
    """Steps or a rate."""
    return "-" if value is None else quantity(value)


def mebibytes(value: float | None) -> str:
    """Bytes as MiB."""
    return (
        "-"
        if value is None
        else f"{value / 2**20:,.3g}"
        if value < 2**30
        else f"{value / 2**20:,.0f}"
    )


def _shown(name: str, how: Callable[[float | None], str]) -> Callable[[Values], str]:
    return lambda row: how(row[name]) + (MARK if row.get("mixed_hardware") else "")


def costs(findings: Findings) -> Table:
    """Times, speed and steps."""
    rows = [
        row_of(
            task,
            entry,
            train_seconds=finite(one.train),
            compile_seconds=finite(one.compile),
            eval_seconds=finite(one.eval),
            setup_seconds=finite(one.setup),
            steps_per_second=finite(one.rate),
            simulated_env_steps=finite(one.simulated),
            live_env_steps=finite(one.live),
            mixed_hardware=task.mixed_hardware,
        )
        for task, entry, one in each(findings)
    ]
    columns = (
        TASK,
        ALGORITHM,
        *(
            Column(title, _shown(f"{title}_seconds", seconds), f"{title}_seconds")
            for title in ("train", "compile", "eval", "setup")
        ),
        Column("steps/s", _shown("steps_per_second", amount), "steps_per_second"),
        Column("simulated steps", _shown("simulated_env_steps", amount), "simulated_env_steps"),
        Column("live steps", _shown("live_env_steps", amount), "live_env_steps"),
    )
    note = (
        "Seconds and env steps, medians over finished runs. Training, compilation and evaluation "
        "have clocks of their own; steps/s are simulated steps by training seconds. " + MARKED + "."
    )
    return Table("costs", "Time and steps", note, columns, tuple(rows))


def memory(findings: Findings) -> Table:
    """Memory by source."""
    rows = [
        row_of(
            task,
            entry,
            **{name: finite(value) for name, value in one.memory.items()},
            mixed_hardware=task.mixed_hardware,
        )
        for task, entry, one in each(findings)
    ]
    sources = (Column(about, _shown(name, mebibytes), name) for name, about in MEMORY.items())
    columns = (TASK, ALGORITHM, *sources)
    note = (
        "MiB, medians over finished runs, each column from its own source; - where it does not "
        "tell. The process holds Python, jax and the compiler too. " + MARKED + "."
    )
    return Table("memory", "Memory", note, columns, tuple(rows))


def targets(findings: Findings) -> Table:
    """Time and steps to a target."""
    rows = []
    for task, entry, one in each(findings):
        if one.reached is None:
            continue
        rows.append(
            row_of(
                task,
                entry,
                target=one.reached.target,
                reached=one.reached.count,
                n=one.n,
                env_steps=finite(one.reached.steps),
                train_seconds=finite(one.reached.seconds),
                mixed_hardware=task.mixed_hardware,
            )
        )
    columns = (
        TASK,
        Column("target", lambda row: score(row["target"]), "target"),
        ALGORITHM,
        Column("reached", lambda row: f"{row['reached']} of {row['n']}", "reached"),
        Column("steps", lambda row: _censored(row, "env_steps", amount), "env_steps"),
        Column("seconds", lambda row: _censored(row, "train_seconds", seconds), "train_seconds"),
    )
    note = (
        "Median over seeds of the first evaluation at the target or above, which is 0.9 of the way "
        "from random actions to the reference unless --target says otherwise. A run that never "
        "reached it counts as endless: 'not by half' where that is the median. As fine as the "
        "evaluations are. " + MARKED + "."
    )
    return Table("targets", "Steps and time to a target", note, columns, tuple(rows))


def _censored(row: Values, name: str, how: Callable[[float | None], str]) -> str:
    if row[name] is None:
        return "not by half"
    return _shown(name, how)(row)


def all_tables(findings: Findings) -> Sequence[Table]:
    """Every table that has rows."""
    made = (returns, aggregates, pairs, targets, costs, memory)
    return [table for table in (make(findings) for make in made) if table.rows]
