"""Fig. 15: how many times faster EGGROLL trains than OpenES, with the paper's settings of each,
and, as the paper does not, at equal population and evaluations. Imports no jax.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from rlbench.analysis.reproduced.claim import (
    AGREE,
    DIFFER,
    UNTESTED,
    Data,
    Finding,
    Reproduction,
    Row,
)
from rlbench.analysis.runs import Run
from rlbench.analysis.style import finish, looks, panels

PAPER = {
    "gymnax/CartPole-v1": 1.83,
    "gymnax/Pendulum-v1": 7.81,
    "brax/ant": 2.47,
    "brax/humanoid": 1 / 1.80,
    "brax/inverted_double_pendulum": 1 / 1.65,
}
"""v2 Fig. 15: seconds of OpenES over seconds of EGGROLL, by environment."""
OWN, EQUAL = "own settings", "equal population"
EQUAL_SIZE = (512, 1)
"""pop_size and n_parallel_evaluations of the cells that are to be equal."""


@dataclass(frozen=True)
class Ratio:
    """Env steps a second of EGGROLL over those of OpenES.

    Attributes:
        env: full id.
        how: `OWN` or `EQUAL`.
        value: of the medians over runs.
        low: EGGROLL's slowest run over OpenES's fastest.
        high: the reverse.
        paper: the paper's, where it has one.
    """

    env: str
    how: str
    value: float
    low: float
    high: float
    paper: float | None

    @property
    def told(self) -> str:
        """In figures."""
        text = f"{self.env}: {self.value:.2f}x [{self.low:.2f}, {self.high:.2f}]"
        return text + (f", the paper {self.paper:.2f}x" if self.paper else "")


def how_of(run: Run) -> str:
    """Which of the two comparisons a run belongs to."""
    settings = run.config["settings"]
    size = settings["pop_size"], settings["n_parallel_evaluations"]
    return EQUAL if size == EQUAL_SIZE else OWN


def rate(run: Run) -> float:
    """Simulated env steps a training second."""
    return run.total("simulated_env_steps") / run.total("train_seconds")


def rates_of(data: Data) -> dict[tuple[str, str, str], list[float]]:
    """Of runs that differ in their seed alone, by (`OWN` or `EQUAL`, environment, algorithm)."""
    rates: dict[tuple[str, str, str], list[float]] = {}
    for run in data.runs:
        if run.state == "ok" and run.total("train_seconds") > 0:
            rates.setdefault((how_of(run), run.env, run.algo), []).append(rate(run))
    return rates


def _spread(data: Data, how: str) -> str:
    """By how much runs that should be equally fast differ, at most."""
    spreads = {
        f"{algo} on {env}": max(found) / min(found)
        for (kind, env, algo), found in rates_of(data).items()
        if kind == how
    }
    worst = max(spreads, key=lambda name: spreads[name])
    return f"; seeds of one kind differ by up to {spreads[worst]:.2f}x ({worst})"


def ratios(data: Data) -> list[Ratio]:
    """Of every environment that both were timed on, own settings first."""
    rates = rates_of(data)
    found = []
    for how in (OWN, EQUAL):
        for env in sorted({env for kind, env, _ in rates if kind == how}):
            ours, theirs = (rates.get((how, env, algo)) for algo in ("eggroll", "open_es"))
            if ours and theirs:
                ends = min(ours) / max(theirs), max(ours) / min(theirs)
                paper = PAPER.get(env.partition("@")[0]) if how == OWN else None
                value = float(np.median(ours) / np.median(theirs))
                found.append(Ratio(env, how, value, *ends, paper))
    return found


def _side(low: float, high: float) -> int:
    """Which of the two is faster beyond doubt; 0 if neither is."""
    return 1 if low > 1 else -1 if high < 1 else 0


def _own(found: Sequence[Ratio], data: Data) -> Finding:
    known = [one for one in found if one.how == OWN and one.paper]
    sides = [_side(one.low, one.high) * (1 if (one.paper or 0) > 1 else -1) for one in known]
    verdict = UNTESTED
    if known:
        verdict = DIFFER if -1 in sides else AGREE if all(s == 1 for s in sides) else UNTESTED
    return Finding(
        "with each algorithm's own settings EGGROLL is faster on 12 of 16 environments and slower "
        "on 4",
        "Fig. 15 (v2)",
        verdict,
        "; ".join(one.told for one in known) + _spread(data, OWN) if known else "no runs of both",
        "of the environments here: agree if on each the same algorithm is faster as in the paper, "
        "whichever runs are compared; differ if on one it is the other; otherwise the times do "
        "not decide. The factors are of other hardware and are not judged",
    )


def _equal(found: Sequence[Ratio], data: Data) -> Finding:
    known = [one for one in found if one.how == EQUAL]
    sides = [_side(one.low, one.high) for one in known]
    verdict = UNTESTED
    if known:
        verdict = DIFFER if -1 in sides else AGREE if all(s == 1 for s in sides) else UNTESTED
    mean = math.exp(float(np.mean([math.log(one.value) for one in known]))) if known else math.nan
    pop, evaluations = EQUAL_SIZE
    return Finding(
        "EGGROLL is faster a time step than OpenES",
        "caption of Fig. 15 (v2), without figures",
        verdict,
        f"at population {pop} and {evaluations} evaluation a member: "
        + "; ".join(one.told for one in known)
        + f"; geometric mean {mean:.2f}x{_spread(data, EQUAL)}"
        if known
        else "no runs of both",
        "agree if on each environment every run of EGGROLL computes more env steps a second than "
        "every run of OpenES, differ if on one it is the reverse; otherwise times do not decide",
    )


def judge(data: Data) -> Sequence[Finding]:
    """Own settings, and equal population."""
    found = ratios(data)
    return [_own(found, data), _equal(found, data)]


def rows(data: Data) -> Sequence[Row]:
    """Every run's speed."""
    return [
        {
            "env": run.env,
            "algo": run.algo,
            "comparison": how_of(run),
            "seed": run.seed,
            "pop_size": run.config["settings"]["pop_size"],
            "n_parallel_evaluations": run.config["settings"]["n_parallel_evaluations"],
            "updates": run.total("updates"),
            "simulated_env_steps": run.total("simulated_env_steps"),
            "train_seconds": run.total("train_seconds"),
            "env_steps_per_second": rate(run),
        }
        for run in data.runs
        if run.total("train_seconds") > 0
    ]


def draw(data: Data) -> Figure:
    """Ratios by environment, beside the paper's."""
    found = ratios(data)
    envs = sorted({one.env for one in found})
    labels = [OWN, EQUAL, "the paper, own settings"]
    look = looks(labels)
    figure, (axes,) = panels(1, height=2.4)
    for one in found:
        y = envs.index(one.env) + (-0.15 if one.how == OWN else 0.15)
        reach = [[one.value - one.low], [one.high - one.value]]
        style = look[one.how]
        axes.errorbar(one.value, y, xerr=reach, fmt=style.marker, color=style.colour, label=one.how)
        if one.paper:
            style = look[labels[2]]
            axes.plot(one.paper, y, style.marker, color=style.colour, label=labels[2])
    axes.axvline(1.0, color="0.4", linewidth=0.7, linestyle=":")
    axes.set_yticks(range(len(envs)), [env.rpartition("/")[2].partition("@")[0] for env in envs])
    axes.set(xscale="log", xlabel="env steps/s, EGGROLL / OpenES")
    axes.invert_yaxis()
    return finish(
        figure, [axes], labels, "bars: from the slowest over the fastest run to the reverse"
    )


REPRODUCTION = Reproduction(
    title="Speed of EGGROLL against OpenES, as simulated env steps a training second",
    judge=judge,
    draw=draw,
    rows=rows,
    chosen=(
        "Speed is simulated env steps a second of training, dead lanes included, compilation and "
        "evaluation left out; the paper compares seconds of whole runs of 5e8 steps, and does not "
        "say what they hold.",
        "OpenES is the harness's: mirrored pairs share one noise matrix, and the mean's product is "
        "one matrix product for all.",
    ),
    limits="Only 4 of the 16 environments are timed, on a CPU, in the first updates of a run: how "
    "episode lengths change with learning, by the paper's caption a part of the difference, is "
    "hardly seen. Where a seed's episodes are short, a generation has few env steps to share its "
    "noise and its update: so runs that differ in their seed alone differ in speed, as their "
    "updates in data.csv do. Runs went on two at a time, on a core each.",
)
