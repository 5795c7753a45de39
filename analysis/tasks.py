"""What may stand in one table: runs of one environment, budget, evaluation protocol, network and
kind of hardware are a task; within it, a configuration of an algorithm is an entry.

What differs in any of these is another task, never a silent mix. Imports no jax.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlbench import registry
from rlbench.analysis.runs import Run, without_copies
from rlbench.analysis.scores import COUNTED, Scale, scale_of, score
from rlbench.display import printable, quantity
from rlbench.errors import UsageError, nearest

MIXABLE = ("hardware",)
MAX_SETTINGS = 3
"""Settings that an entry's name lists; with more that differ, its hash stands for them."""


def hardware(run: Run) -> Any:
    """What times depend on, as plain data; None where it is not recorded."""
    found = run.provenance.get("hardware")
    if not isinstance(found, dict):
        return None
    names = ("platform", "device_kind", "device_count", "processor", "usable_cores")
    told = {name: found.get(name) for name in names}
    several = found.get("processes")
    return {**told, "processes": sorted(several, key=str)} if isinstance(several, list) else told


def describe_hardware(run: Run) -> str:
    """In words: processor or device, and how many of them."""
    found = hardware(run)
    if found is None:
        return "hardware not recorded"
    kind = "host" if found["platform"] == "cpu" else found["device_kind"]
    counts = [(found["usable_cores"], "core"), (found["device_count"], f"{kind} device")]
    told = [f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts]
    return ", ".join([str(found["processor"]), *told, *_describe_processes(found)])


def _describe_processes(found: dict[str, Any]) -> list[str]:
    """How many there are, and on what else than the first of them."""
    if "processes" not in found:
        return []
    mine = (found["processor"], found["usable_cores"])
    members = [m for m in found["processes"] if isinstance(m, dict)]
    seen = [(m.get("processor"), m.get("usable_cores")) for m in members]
    others = [f"{name} with {cores} cores" for name, cores in seen if (name, cores) != mine]
    return [f"{len(seen)} processes" + (f", also on {' and '.join(others)}" if others else "")]


def _budget(run: Run) -> str:
    steps, seconds = (run.config.get(f"budget_{unit}") for unit in ("env_steps", "seconds"))
    limits = [f"{quantity(steps)} env steps"] if isinstance(steps, int | float) else []
    limits += [f"{seconds:g} s"] if isinstance(seconds, int | float) else []
    return " or ".join(limits) or "no budget recorded"


def describe_network(run: Run) -> str:
    """In words: widths and activation."""
    network = run.config.get("network", {})
    hidden = network.get("hidden") if isinstance(network.get("hidden"), list) else []
    widths = "x".join(map(str, hidden)) or "no hidden layer"
    return f"network {widths} {network.get('activation', '')}".strip()


Aspect = tuple[Callable[[Run], Any], Callable[[Run], str]]
ASPECTS: dict[str, Aspect] = {
    "budget": (
        lambda run: [run.config.get("budget_env_steps"), run.config.get("budget_seconds")],
        _budget,
    ),
    "evaluation": (
        lambda run: [run.config.get("eval_episodes"), run.config.get("evaluations")],
        lambda run: (
            f"{run.config.get('evaluations')} evaluations of "
            f"{run.config.get('eval_episodes')} episodes"
        ),
    ),
    "network": (lambda run: run.config.get("network"), describe_network),
    "hardware": (hardware, describe_hardware),
}
"""What must be equal in a comparison besides the environment: its value, and how to say it."""


@dataclass(frozen=True)
class Entry:
    """One configuration of an algorithm on a task, with all its seeds.

    Attributes:
        label: what it is called: the algorithm, and the settings that tell it from another entry.
        runs: one a seed, in their order; counted or not.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def counted(self) -> tuple[Run, ...]:
        """Runs that have a score."""
        return tuple(run for run in self.runs if score(run) == score(run))

    @property
    def scores(self) -> list[float]:
        """Of the counted runs."""
        return [score(run) for run in self.counted]

    @property
    def failures(self) -> int:
        """Runs that failed or diverged."""
        return sum(run.state in COUNTED and run.state != "ok" for run in self.runs)

    @property
    def unfinished(self) -> int:
        """Runs that are neither done nor failed."""
        return sum(run.state not in COUNTED for run in self.runs)


@dataclass(frozen=True)
class Task:
    """Runs that may be compared.

    Attributes:
        key: equal for runs that may be compared.
        label: the environment, and what tells this task from another one of it.
        env: full id of the environment.
        about: budget, protocol, network and hardware, in words.
        entries: by label, in the order of their labels.
        scale: for normalised scores; None where there is no reference.
        mixed_hardware: whether its runs are of several kinds of hardware, so that times and memory
            must not be compared.
    """

    key: str
    label: str
    env: str
    about: str
    entries: dict[str, Entry]
    scale: Scale | None
    mixed_hardware: bool


@dataclass(frozen=True)
class Comparison:
    """All tasks.

    Attributes:
        tasks: in the registry's order of environments.
        labels: of all entries, in the order in which tables and figures show them.
        left_out: (run, reason) of second runs of a seed.
    """

    tasks: tuple[Task, ...]
    labels: tuple[str, ...]
    left_out: tuple[tuple[Run, str], ...]


def compare(runs: Sequence[Run], mix: Sequence[str] = ()) -> Comparison:
    """Groups runs into tasks and entries.

    Args:
        runs: as `find_runs` orders them.
        mix: what may differ within a task, of `MIXABLE`; what is timed is then marked.

    Raises:
        UsageError: something else is to be mixed.
    """
    for name in mix:
        if name not in MIXABLE:
            offer = "only hardware can be mixed" if name in ASPECTS else nearest(name, MIXABLE)
            raise UsageError(f"--allow-mixed cannot be {name!r}: {offer}")
    aspects = {name: value for name, value in ASPECTS.items() if name not in mix}
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        values = [run.env, *(value(run) for value, _ in aspects.values())]
        groups[json.dumps(values, sort_keys=True)].append(run)
    once = {key: without_copies(group) for key, group in groups.items()}
    names = _labels([kept for kept, _ in once.values()])
    firsts = [group[0] for group in groups.values()]
    tasks = [_task(key, kept, aspects, firsts, names) for key, (kept, _) in once.items()]
    order = {entry.base: i for i, entry in enumerate(registry.env_entries())}
    tasks.sort(key=lambda task: (order.get(task.env.partition("@")[0], len(order)), task.label))
    tasks = _numbered(tasks)
    labels = {label for task in tasks for label in task.entries}
    left = [item for _, out in once.values() for item in out]
    return Comparison(tuple(tasks), tuple(sorted(labels, key=label_order)), tuple(left))


def _numbered(tasks: list[Task]) -> list[Task]:
    """With labels that differ, also where the environments' names do so in unprintable signs."""
    seen: dict[str, int] = defaultdict(int)
    told = []
    for task in tasks:
        seen[task.label] += 1
        number = f" ({seen[task.label]})" if seen[task.label] > 1 else ""
        told.append(replace(task, label=task.label + number))
    return told


def label_order(label: str) -> tuple[int, list[tuple[int, str]]]:
    """The registry's agents first, in its order; numbers in settings by their value."""
    known = [entry.name for entry in registry.agent_entries()]
    algo = label.partition(" ")[0]
    words = [(int(x), "") if x.isdecimal() else (-1, x) for x in re.split(r"(\d{1,18})", label)]
    return (known.index(algo) if algo in known else len(known)), words


def _task(
    key: str,
    runs: Sequence[Run],
    aspects: dict[str, Aspect],
    others: list[Run],
    names: dict[str, str],
) -> Task:
    first = runs[0]
    rivals = [run for run in others if run.env == first.env]
    marks = [
        tell(first)
        for value, tell in aspects.values()
        if any(value(run) != value(first) for run in rivals)
    ]
    entries: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        entries[names[run.cell]].append(run)
    made = {
        label: Entry(label, tuple(sorted(entries[label], key=lambda run: run.seed)))
        for label in sorted(entries, key=label_order)
    }
    mixed = len({json.dumps(hardware(run), sort_keys=True) for run in runs}) > 1
    about = ", ".join(tell(first) for _, tell in aspects.values())
    label = printable(", ".join([first.env, *marks]))
    return Task(key, label, first.env, about, made, scale_of(first.env), mixed)


def _options(run: Run) -> dict[str, Any]:
    """What may tell two entries of a task apart."""
    compared = {"env", "algo", "seed", "network", "eval_episodes", "evaluations", "settings"}
    compared |= {"suite", "settings_source", "host_devices", "budget_env_steps", "budget_seconds"}
    rest = {k: v for k, v in run.config.items() if k not in compared}
    return {**rest, **run.config.get("settings", {})}


def _labels(groups: Sequence[Sequence[Run]]) -> dict[str, str]:
    """Every cell's label: the algorithm, and the settings in which its entries of a task differ."""
    differing: dict[str, set[str]] = defaultdict(set)
    cells: dict[str, Run] = {}
    for group in groups:
        by_algo: dict[str, dict[str, Run]] = defaultdict(dict)
        for run in group:
            by_algo[run.algo][run.cell] = run
            cells[run.cell] = run
        for algo, variants in by_algo.items():
            options = [_options(run) for run in variants.values()]
            for name in set().union(*options):
                if len({json.dumps(o.get(name), sort_keys=True) for o in options}) > 1:
                    differing[algo].add(name)
    labels = {cell: _label(run, sorted(differing[run.algo])) for cell, run in cells.items()}
    return _distinct(labels, groups)


def _label(run: Run, names: list[str]) -> str:
    algo = printable(run.algo)
    if len(names) > MAX_SETTINGS:
        return f"{algo} {run.cell}"
    options = _options(run)
    told = [f"{name}={options[name]}" for name in names if name in options]
    return printable(" ".join([algo, *told]))


def _distinct(labels: dict[str, str], groups: Sequence[Sequence[Run]]) -> dict[str, str]:
    """The labels, with the hash where two cells of a task would share one."""
    shared = set()
    for group in groups:
        cells = sorted({run.cell for run in group})
        names = [labels[cell] for cell in cells]
        shared |= {cell for cell in cells if names.count(labels[cell]) > 1}
    return {cell: f"{name} {cell}" if cell in shared else name for cell, name in labels.items()}
