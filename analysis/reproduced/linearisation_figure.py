"""The figure of `linearisation`. Imports no jax."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from rlbench.analysis.reproduced.claim import Data
from rlbench.analysis.reproduced.linearisation_curves import (
    EGGROLL,
    ES,
    NORM,
    PRODUCT,
    SQUARE,
    THIN,
    Family,
    families,
    scale,
)
from rlbench.analysis.style import Look, finish, looks, panels

REGIMES = {0.75: "σ = d^-0.75", 0.5: "σ = d^-0.5", 0.25: "σ = d^-0.25"}
"""Those that are drawn, by power: one where ES linearises, the critical one, one beyond."""
NAMES = {ES: "ES (full noise)", EGGROLL: "EGGROLL, r = 1"}
LINES = {ES: "-", EGGROLL: "--"}
MARKERS = {ES: "o", EGGROLL: "x"}
THIN_LABEL = "width 4, σ = d^-0.5"
PRODUCT_LABEL = "⟨U, W Wᵀ W⟩, σ = d^-0.5"


def draw(data: Data) -> Figure:
    """Distances to the gradient, of the cubic and of alpha = 1/2; ES against EGGROLL."""
    figure, (cubic, rough, gaps) = panels(3, height=2.3)
    look = looks(list(REGIMES.values()))
    for axes, alpha, title in ((cubic, 2.0, "cubic f"), (rough, 0.5, "f of Hölder exponent ½")):
        for family in families(data, SQUARE, [alpha]):
            if family.power in REGIMES:
                _distances(axes, data, family, look)
        _axes(axes, f"distance to ∇f, {title}")
    _gaps(gaps, data, look)
    _axes(gaps, "ES to EGGROLL, cubic f")
    _keys(cubic)
    labels = [*REGIMES.values(), *NAMES.values(), THIN_LABEL, PRODUCT_LABEL]
    note = "relative distances in the Frobenius norm; lines: exact; marks: the harness's draws"
    return finish(figure, [cubic, gaps], labels, note + " with one standard error")


def _distances(axes: Any, data: Data, family: Family, look: dict[str, Look]) -> None:
    label = REGIMES[family.power]
    colour = look[label].colour
    for algo in (ES, EGGROLL):
        shown = {"color": colour, "linestyle": LINES[algo], "linewidth": 1.0}
        axes.plot(family.d, family.distance(algo), label=label if algo == ES else None, **shown)
        points = _points(data, family.alpha, algo)
        d = np.array([point["d"] for point in points], np.float64)
        by = scale(family.coefficient, family.alpha, family.power, d)
        axes.errorbar(
            d,
            by * [point["moment"] for point in points],
            by * [point["standard_error"] for point in points],
            color=colour,
            marker=MARKERS[algo],
            linestyle="none",
            elinewidth=0.8,
        )


def _points(data: Data, alpha: float, algo: str) -> list[Any]:
    case = data.cases.get("draws")
    every = [] if case is None else case.values["points"]
    return [
        point
        for point in every
        if (point["f"], point["alpha"], point["algo"]) == (NORM, alpha, algo)
    ]


def _gaps(axes: Any, data: Data, look: dict[str, Look]) -> None:
    for family in families(data, SQUARE, [2.0]):
        if family.power in REGIMES:
            colour = look[REGIMES[family.power]].colour
            axes.plot(family.d, family.relative_gap, color=colour, linewidth=1.0)
    for label, line, others in (
        (THIN_LABEL, ":", families(data, THIN, [2.0])),
        (PRODUCT_LABEL, "-.", families(data, SQUARE, f=PRODUCT)),
    ):
        for family in others:
            if family.power == 0.5:
                shown = {"color": "0.3", "linestyle": line, "linewidth": 1.0, "label": label}
                axes.plot(family.d, family.relative_gap, **shown)


def _keys(axes: Any) -> None:
    """Entries of the legend that stand for no line of their own."""
    for algo, name in NAMES.items():
        axes.plot([], [], color="0.3", linestyle=LINES[algo], marker=MARKERS[algo], label=name)


def _axes(axes: Any, title: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=6))
        axis.set_minor_locator(NullLocator())
    axes.set_title(title)
    axes.set_xlabel("weights d")
