"""Members evaluated a second against the population. Imports no jax."""

import math
from dataclasses import dataclass
from typing import Any

import scipy.stats
from matplotlib.figure import Figure

from rlbench.analysis.reproduced.claim import (
    AGREE,
    DIFFER,
    UNTESTED,
    Case,
    Data,
    Finding,
    Reproduction,
)
from rlbench.analysis.reproduced.rounds import Spread, case_of, spread
from rlbench.analysis.style import finish, logarithmic, looks, panels

SLOPE = 0.9
"""Least slope of log throughput on log population that counts as linear."""
FALL = 0.1
"""Most that throughput may fall, of the most at a smaller population beyond the knee."""
FEWEST = 3
"""Populations below the knee that a slope needs."""
LEVEL = 0.95
PANELS = {"forward": "forward pass", "generation": "whole generation"}
LABELS = {"eggroll": "EGGROLL r=1", "inference": "batched inference"}
Curve = dict[int, Spread]
"""Members evaluated a second, by population."""


@dataclass(frozen=True)
class Shape:
    """How throughput grows.

    Attributes:
        knee: the smallest population with at least half of the most throughput.
        below: populations below it.
        slope: of log throughput on log population there; NaN with fewer than `FEWEST`.
        interval: of the slope, by Student's t.
        fall: the most that throughput falls beyond the knee, of the most before.
    """

    knee: int
    below: tuple[int, ...]
    slope: float
    interval: tuple[float, float]
    fall: float


def curve(case: Case, variant: str) -> Curve:
    """Of one variant, by rising population."""
    found = {}
    for name, samples in case.samples.items():
        kind, _, population = name.rpartition(" ")
        if kind == variant:
            done = int(population) * case.values["evaluations"][name]
            found[int(population)] = spread([done / seconds for seconds in samples])
    return dict(sorted(found.items()))


def shape(found: Curve) -> Shape:
    """Knee, slope before it and fall after it, of medians."""
    medians = {population: each.median for population, each in found.items()}
    most = max(medians.values())
    knee = next(population for population, value in medians.items() if value >= most / 2)
    below = tuple(population for population in medians if population < knee)
    slope, interval = math.nan, (math.nan, math.nan)
    if len(below) >= FEWEST:
        x = [math.log(population) for population in below]
        y = [math.log(medians[population]) for population in below]
        fit = scipy.stats.linregress(x, y)
        half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(below) - 2) * fit.stderr)
        slope, interval = float(fit.slope), (float(fit.slope) - half, float(fit.slope) + half)
    top, fall = 0.0, 0.0
    for population, value in medians.items():
        if population >= knee:
            top = max(top, value)
            fall = max(fall, 1 - value / top)
    return Shape(knee, below, slope, interval, fall)


def _told(found: Curve, seen: Shape) -> str:
    largest = max(found)
    best = max(found, key=lambda population: found[population].median)
    slope = f"fewer than {FEWEST} populations are below it"
    if not math.isnan(seen.slope):
        low, high = seen.interval
        slope = f"slope below it {seen.slope:.2f} ({LEVEL:.0%} interval {low:.2f} to {high:.2f})"
    return (
        f"the knee is at a population of {seen.knee}, {slope}; most {found[best]} members a second"
        f" at {best}, {found[largest]} at {largest}; beyond the knee it falls by at most"
        f" {seen.fall:.0%}"
    )


def _verdict(case: Case) -> tuple[str, str]:
    found = curve(case, "eggroll")
    seen = shape(found)
    told = _told(found, seen)
    if plain := curve(case, "inference"):
        told += f"; batched inference beside it: {_told(plain, shape(plain))}"
    if seen.fall > FALL:
        return DIFFER, told
    if math.isnan(seen.slope):
        return UNTESTED, told
    return (AGREE if seen.slope >= SLOPE else DIFFER), told


RULE = (
    "the knee is the smallest population with at least half of the most throughput; agree if the"
    f" slope of log throughput on log population is at least {SLOPE:g} below it and throughput"
    f" falls by at most {FALL:.0%} beyond it; differ otherwise; not testable with fewer than"
    f" {FEWEST} populations below it"
)


def _title(name: str, case: Case | None) -> str:
    """What a case evaluates, as far as it is known."""
    known = {} if case is None else case.params
    detail = f"3 x {known['width']}" if "width" in known else known.get("env")
    return f"{PANELS[name]}, {detail}" if detail else PANELS[name]


def _cases(data: Data) -> dict[str, Case]:
    """Those that have samples of EGGROLL, by name."""
    found = {name: case_of(data, name, ()) for name in PANELS}
    return {name: case for name, case in found.items() if case and curve(case, "eggroll")}


def judge(data: Data) -> list[Finding]:
    """One finding for each of `PANELS`."""
    cases, findings = _cases(data), []
    for name in PANELS:
        what = _title(name, cases.get(name))
        verdict, told = UNTESTED, "it was not measured"
        if name in cases:
            verdict, told = _verdict(cases[name])
        findings.append(
            Finding(
                f"EGGROLL's throughput grows linearly with the population up to a limit: {what}",
                "no measured result of the paper: a check of our own",
                verdict,
                told,
                RULE,
            )
        )
    return findings


def rows(data: Data) -> list[dict[str, Any]]:
    """One for each case, variant and population."""
    return [
        {
            "case": name,
            "variant": variant,
            "population": population,
            "members_per_second": each.median,
            "lowest": each.low,
            "highest": each.high,
        }
        for name, case in _cases(data).items()
        for variant in LABELS
        for population, each in curve(case, variant).items()
    ]


def draw(data: Data) -> Figure:
    """Throughput against population, a panel a case; dashed: the line through the first point."""
    figure, all_axes = panels(len(PANELS), height=2.2, wide=2)
    look, cases = looks(tuple(LABELS)), _cases(data)
    for axes, name in zip(all_axes, PANELS, strict=True):
        axes.set_title(_title(name, cases.get(name)))
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("population")
        if name in cases:
            _panel(axes, cases[name], look)
    all_axes[0].set_ylabel("members evaluated a second")
    note = "bars: lowest to highest round; dotted: EGGROLL's knee"
    return finish(figure, all_axes, [*LABELS.values(), "linear"], note)


def _panel(axes: Any, case: Case, look: Any) -> None:
    for variant, label in LABELS.items():
        found = curve(case, variant)
        if not found:
            continue
        y = [each.median for each in found.values()]
        spans = [
            [e.median - e.low for e in found.values()],
            [e.high - e.median for e in found.values()],
        ]
        axes.errorbar(
            list(found), y, yerr=spans, color=look[variant].colour, marker=look[variant].marker,
            linestyle=look[variant].line, elinewidth=0.8, label=label,
        )  # fmt: skip
    found = curve(case, "eggroll")
    seen, first = shape(found), min(found)
    top = max(each.median for each in found.values())
    until = first * top / found[first].median
    axes.plot(
        [first, until], [found[first].median, top], "--", color="0.5", linewidth=0.8, label="linear"
    )
    axes.axvline(seen.knee, color="0.5", linestyle=":", linewidth=0.8)
    logarithmic(axes.yaxis)


REPRODUCTION = Reproduction(
    title="Throughput against population",
    judge=judge,
    draw=draw,
    rows=rows,
    chosen=(
        "A forward pass is that of the paper's network of three hidden layers of 256, as training"
        " runs it: mirrored pairs, noise drawn before, lanes in queues on every device.",
        "A generation is a whole update of EGGROLL with the paper's network on CartPole, from"
        " weights that do not learn.",
        "Batched inference is the faster of two plain passes: in the same queues, or the whole"
        " population as one batch.",
        "Populations begin at two: a mirrored pair.",
    ),
    limits="On a few cores the limit comes at a few lanes, so that there is little room for a"
    " linear part; a GPU's would come at thousands.",
)
