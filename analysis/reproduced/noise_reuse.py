"""Fresh noise in every generation against the same noise for ever. Imports no jax."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from rlbench.analysis.figures import learning_curves
from rlbench.analysis.findings import find
from rlbench.analysis.reproduced.claim import UNTESTED, Data, Finding, Reproduction, Row
from rlbench.analysis.reproduced.loss import RULE, Change, change, verdict
from rlbench.analysis.runs import Found, Run
from rlbench.analysis.style import panels
from rlbench.analysis.tasks import compare

SAME, FRESH = 0, 1


def reuse(run: Run) -> int:
    """The setting: 0 is the same noise for ever, 1 fresh noise in every generation."""
    found: int = run.config["settings"]["noise_reuse"]
    return found


def changes(data: Data) -> list[Change]:
    """The same noise for ever minus fresh noise, by environment."""
    found = []
    for task in compare(data.runs).tasks:
        entries = {reuse(entry.runs[0]): entry for entry in task.entries.values()}
        if {SAME, FRESH} <= entries.keys():
            found.append(change(task.label, task.scale, entries[SAME], entries[FRESH]))
    return [one for one in found if one is not None]


def judge(data: Data) -> Sequence[Finding]:
    """Whether the same noise for ever does as well."""
    found = changes(data)
    return [
        Finding(
            "the same noise in every generation does as well as fresh noise",
            "not in the paper: the default of the authors' code (noise_reuse = 0); their LLM "
            "scripts use fresh noise",
            verdict(found) if found else UNTESTED,
            "the same noise minus fresh noise: " + ", ".join(one.told for one in found)
            if found
            else "no runs of both on one environment",
            RULE,
        )
    ]


def rows(data: Data) -> Sequence[Row]:
    """Every run's final return."""
    return [
        {
            "env": run.env,
            "noise_reuse": reuse(run),
            "seed": run.seed,
            "status": run.state,
            "return_mean": run.status.get("return_mean"),
        }
        for run in data.runs
    ]


def draw(data: Data) -> Figure:
    """Mean return against env steps, a panel an environment, with 95 % intervals."""
    drawn = learning_curves(find(Found(tuple(data.runs), ())), "steps") if data.runs else ""
    return panels(1)[0] if isinstance(drawn, str) else drawn


REPRODUCTION = Reproduction(
    title="EGGROLL with fresh noise (noise_reuse=1) and with the same noise for ever (0)",
    judge=judge,
    draw=draw,
    rows=rows,
    chosen=("Settings were searched for with fresh noise, which favours it.",),
    limits="Small networks have few parameters a pair: the fewer pairs for a parameter, the more "
    "the same noise for ever must cost.",
)
