"""What a reader must know before believing a comparison: split tasks, few seeds, failures,
versions. Imports no jax.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from rlbench.analysis import claims
from rlbench.analysis.findings import Findings
from rlbench.analysis.runs import Run
from rlbench.analysis.tasks import ASPECTS, MIXABLE, Task

USUAL_SEEDS = 10
LIBRARIES = ("jax", "jaxlib", "brax", "gymnax", "mujoco", "rlbench")


def _of(task: Task) -> list[Run]:
    return [run for entry in task.entries.values() for run in entry.runs]


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _split(findings: Findings) -> Iterator[str]:
    by_env: dict[str, list[Task]] = defaultdict(list)
    for task in findings.comparison.tasks:
        by_env[task.env].append(task)
    for env, tasks in by_env.items():
        if len(tasks) < 2:
            continue
        runs = [_of(task)[0] for task in tasks]
        differs = [
            name
            for name, (value, _) in ASPECTS.items()
            if len({json.dumps(value(run), sort_keys=True) for run in runs}) > 1
        ]
        yield (
            f"{env} is {len(tasks)} tasks, which are not compared with each other, because runs "
            f"differ in {', '.join(differs)}"
        )


def _mixed(findings: Findings) -> Iterator[str]:
    mixed = [task.label for task in findings.comparison.tasks if task.mixed_hardware]
    if mixed:
        yield f"several kinds of {MIXABLE[0]} are mixed, and times marked, on {', '.join(mixed)}"


def _seeds(findings: Findings) -> Iterator[str]:
    counts = [one.n for one in findings.summaries.values()]
    few = sum(n < claims.FEWEST_SEEDS for n in counts)
    some = sum(claims.FEWEST_SEEDS <= n < USUAL_SEEDS for n in counts)
    cells = f"of {_plural(len(counts), 'cell')} (algorithm and task)"
    if few:
        yield f"{few} {cells} have fewer than {claims.FEWEST_SEEDS} seeds: no verdict there"
    if some:
        yield f"{some} {cells} have fewer than {USUAL_SEEDS} seeds: their intervals are rough"


def _lost(findings: Findings) -> Iterator[str]:
    entries = [entry for task in findings.comparison.tasks for entry in task.entries.values()]
    failed, unfinished = (
        sum(entry.failures for entry in entries),
        sum(entry.unfinished for entry in entries),
    )
    if failed:
        yield f"{_plural(failed, 'run')} failed or diverged, and counted as random actions"
    if unfinished:
        yield f"{_plural(unfinished, 'run')} unfinished, shown and not counted"
    if findings.comparison.left_out:
        count = len(findings.comparison.left_out)
        yield f"{_plural(count, 'run')} left out, as a seed counts once"
    if findings.found.unreadable:
        yield f"unreadable and not counted: {len(findings.found.unreadable)} of the directories"


def _versions(findings: Findings) -> Iterator[str]:
    seen: dict[str, set[str]] = defaultdict(set)
    dirty = 0
    for run in findings.found.runs:
        versions = run.provenance.get("versions")
        for name in LIBRARIES:
            seen[name].add(str(_get(versions, name)))
        seen["commit"].add(str(run.provenance.get("commit"))[:10])
        dirty += run.provenance.get("dirty") is True
    for name, values in seen.items():
        if len(values) > 1:
            yield f"several versions of {name}: {', '.join(sorted(values))}"
    if dirty:
        yield f"{_plural(dirty, 'run')} of a checkout with uncommitted changes"


def _get(table: Any, name: str) -> Any:
    return table.get(name, "not recorded") if isinstance(table, dict) else "not recorded"


def notes(findings: Findings) -> list[str]:
    """Sentences, the weightiest first."""
    parts = (_split, _mixed, _seeds, _lost, _versions)
    told = [note for part in parts for note in part(findings)]
    if findings.suite.why:
        told.append(f"over all tasks: {findings.suite.why}")
    return told


def headline(findings: Findings) -> str:
    """What was compared, in a line."""
    runs = sum(len(_of(task)) for task in findings.comparison.tasks)
    tasks, labels = len(findings.comparison.tasks), len(findings.comparison.labels)
    told = (_plural(labels, "algorithm"), _plural(tasks, "task"), _plural(runs, "run"))
    return f"{told[0]} on {told[1]}, {told[2]}"
