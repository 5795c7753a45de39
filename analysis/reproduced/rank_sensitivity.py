"""The experiment that the paper lacks: ranks 1 to 16 on ant, all else equal. Imports no jax."""

import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rlbench.analysis.reproduced.claim import UNTESTED, Data, Finding, Reproduction, Row
from rlbench.analysis.reproduced.loss import RULE, Change, change, verdict
from rlbench.analysis.statistics import generator, mean_interval
from rlbench.analysis.style import finish, looks, panels
from rlbench.analysis.tasks import Entry, Task, compare

RUN, MEAN = "a run", "mean, 95 % interval"


def by_rank(data: Data) -> tuple[Task | None, dict[int, Entry]]:
    """The task, and EGGROLL's entries by rank."""
    found = compare([run for run in data.runs if run.algo == "eggroll"])
    if len(found.tasks) != 1:
        return None, {}
    (task,) = found.tasks
    ranks = {entry.runs[0].config["settings"]["rank"]: entry for entry in task.entries.values()}
    return task, dict(sorted(ranks.items()))


def full_rank(data: Data) -> Entry | None:
    """OpenES's runs on the same task."""
    found = compare(data.runs)
    entries = [e for t in found.tasks for label, e in t.entries.items() if label == "open_es"]
    return entries[0] if len(entries) == 1 else None


def changes(data: Data) -> list[Change]:
    """Rank 1 minus every higher one, and minus full rank."""
    task, entries = by_rank(data)
    if task is None or 1 not in entries:
        return []
    others = {f"r={rank}": entry for rank, entry in entries.items() if rank > 1}
    if full := full_rank(data):
        others["full rank (OpenES)"] = full
    found = (change(name, task.scale, entries[1], entry) for name, entry in others.items())
    return [one for one in found if one is not None]


def judge(data: Data) -> Sequence[Finding]:
    """Whether rank 1 is enough."""
    found = changes(data)
    _, entries = by_rank(data)
    spread = ", ".join(
        f"r={rank} {statistics.stdev(entry.scores):.0f}"
        for rank, entry in entries.items()
        if len(entry.scores) > 1
    )
    told = "rank 1 minus " + ", ".join(one.told for one in found)
    told += f"; standard deviation of returns over seeds: {spread}"
    return [
        Finding(
            "rank 1 is enough: a higher rank does not learn better",
            "section 6.2 (best ranks of its search: 1 in 7, 2 in 2, 4 in 7 environments); there is "
            "no rank ablation in RL",
            verdict(found) if found else UNTESTED,
            told if found else "no runs of several ranks on one task",
            RULE,
        )
    ]


def rows(data: Data) -> Sequence[Row]:
    """Every run's final return."""
    _, entries = by_rank(data)
    named: dict[str, Entry] = {str(rank): entry for rank, entry in entries.items()}
    if full := full_rank(data):
        named["full"] = full
    return [
        {
            "rank": name,
            "seed": run.seed,
            "status": run.state,
            "return_mean": run.status.get("return_mean"),
            "train_seconds": run.total("train_seconds"),
        }
        for name, entry in named.items()
        for run in entry.runs
    ]


def draw(data: Data) -> Figure:
    """Final returns against rank: every seed, the mean and its 95 % interval."""
    figure, (axes,) = panels(1, height=2.4)
    _, entries = by_rank(data)
    shown: list[tuple[str, Entry]] = [(str(rank), entry) for rank, entry in entries.items()]
    if full := full_rank(data):
        shown.append(("full", full))
    for i, (name, entry) in enumerate(shown):
        scores = np.array(entry.scores)
        axes.plot(np.full(len(scores), i), scores, "o", color="0.6", fillstyle="none", label=RUN)
        ends = mean_interval(scores, generator("rank", name)) if len(scores) else None
        if ends is not None:
            reach = np.abs(np.array(ends) - scores.mean()).reshape(2, 1)
            colour = looks([MEAN])[MEAN].colour
            axes.errorbar(i, scores.mean(), yerr=reach, fmt="s", color=colour, label=MEAN)
    axes.set_xticks(range(len(shown)), [name for name, _ in shown])
    axes.set(xlabel="rank of the perturbations", ylabel="return of the final policy")
    return finish(figure, [axes], [RUN, MEAN])


REPRODUCTION = Reproduction(
    title="Final return on ant against the rank of EGGROLL's perturbations, all else equal",
    judge=judge,
    draw=draw,
    rows=rows,
    chosen=("Settings were searched for at rank 1, which favours it.",),
    limits="A network of one hidden layer of 32, so that min(m, n) is 27 and 8: low ranks are less "
    "of a restriction than on the paper's 3x256; with 1.5e6 env steps in place of 5e8.",
)
