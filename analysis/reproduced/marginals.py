"""The law of an entry of E = A B^T / sqrt(r) at finite rank. Imports no jax."""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy import stats

from rlbench.analysis.reproduced.claim import (
    AGREE,
    DIFFER,
    UNTESTED,
    Data,
    Finding,
    Reproduction,
    Row,
)
from rlbench.analysis.reproduced.rates import rate
from rlbench.analysis.style import finish, logarithmic, panels

PEAK = float(stats.norm.pdf(1.0))
"""Of phi(z) z, at z = 1: 0.242."""
NEARLY, SAME = 0.10, 0.03
"""Of the peak: a tenth is plain to see, and a small part of it; 3 % is the width of a line (1.3
points, with the peak 40 points above zero, as in our figure)."""
LEVEL = 0.01
"""Of all tests of fit together."""
ERRORS = 4.0
"""Standard errors that an estimate may be off by."""
SHOWN = (1, 5, 50)
"""Ranks whose draws are drawn; those of all would hide the curves."""
LIMIT = "limit"


def _ranks(data: Data) -> dict[int, dict[str, Any]]:
    case = data.cases.get("marginals")
    return {} if case is None else {int(r): each for r, each in case.values["ranks"].items()}


def _near(data: Data) -> Finding:
    found = _ranks(data)
    shares = {r: each["distance"] / PEAK for r, each in found.items()}
    listed = ", ".join(f"r = {r}: {100 * share:.1f} %" for r, share in shares.items())
    known = 10 in shares and 50 in shares
    agrees = known and shares[10] <= NEARLY and shares[50] <= SAME
    exponent = ""
    if sum(r >= 5 for r in shares) > 2:
        tail = {r: share for r, share in shares.items() if r >= 5}
        exponent = f" Exponent from r = 5 on: {rate(list(tail), list(tail.values()))}."
    return Finding(
        "The law of an entry is nearly converged to the normal at r = 10, and cannot be told from "
        "it at r = 50.",
        "v2 Figure 3 and what is said of it",
        UNTESTED if not known else AGREE if agrees else DIFFER,
        f"Largest |p(z) z - φ(z) z| as a share of the limit's peak (exact): {listed}.{exponent}"
        if found
        else "Nothing was measured.",
        f"Agrees if the share is at most {100 * NEARLY:.0f} % at r = 10 (our reading of nearly: a "
        f"tenth) and at most {100 * SAME:.0f} % at r = 50 (the width of a line in a figure).",
    )


def _fit(data: Data) -> Finding:
    p_values = {r: each["p_value"] for r, each in _ranks(data).items()}
    listed = ", ".join(f"r = {r}: {p:.3f}" for r, p in p_values.items())
    agrees = all(p * len(p_values) >= LEVEL for p in p_values.values())
    return Finding(
        "An entry of E has the density that the paper derives for Gaussian factors.",
        "v1 and v2, marginal density of E for Gaussian factors",
        UNTESTED if not p_values else AGREE if agrees else DIFFER,
        f"p-values of chi-square tests of {_samples(data):,} draws of the harness's a rank, each "
        f"of another matrix, {listed}."
        if p_values
        else "Nothing was measured.",
        f"Agrees if no p-value is below {LEVEL} over the number of ranks (Bonferroni).",
    )


def _kurtosis(data: Data) -> Finding:
    found = {
        r: (each["excess_kurtosis"], each["kurtosis_error"]) for r, each in _ranks(data).items()
    }
    listed = ", ".join(
        f"r = {r}: {value:.3f} ± {error:.3f} ({6 / r:.3g})" for r, (value, error) in found.items()
    )
    agrees = all(abs(value - 6 / r) <= ERRORS * error for r, (value, error) in found.items())
    return Finding(
        "What is left of the difference to the normal, beyond symmetry, is a fourth cumulant that "
        "falls as 1/r: excess kurtosis 6/r for Gaussian factors.",
        "follows from E = A B^T / √r; v2 Theorem 4 rests on it",
        UNTESTED if not found else AGREE if agrees else DIFFER,
        f"Excess kurtosis of the harness's draws with its standard error (and 6/r), {listed}."
        if found
        else "Nothing was measured.",
        f"Agrees if every one is within {ERRORS:g} standard errors of 6/r; these follow from the "
        "number of draws and the law's exact moments.",
    )


def _samples(data: Data) -> int:
    return int(data.cases["marginals"].values["samples"])


def judge(data: Data) -> list[Finding]:
    """How near the limit is, and whether the harness draws what theory describes."""
    return [_near(data), _fit(data), _kurtosis(data)]


def draw(data: Data) -> Figure:
    """The paper's figure with the harness's draws; its distance to the limit; the kurtosis."""
    figure, (curves, distances, kurtoses) = panels(3, height=2.1)
    found = _ranks(data)
    labels = [LIMIT, *(f"r = {r}" for r in found)]
    if found:
        values = data.cases["marginals"].values
        _curves(curves, values, found)
        _distances(distances, found)
        _kurtoses(kurtoses, found)
    note = f"circles: the harness's draws, at r = {', '.join(map(str, SHOWN))}"
    return finish(figure, [curves], labels, note + "; bars: one standard error")


def _curves(axes: Any, values: Any, found: Any) -> None:
    # The rank is a quantity: its order is what colours tell.
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, len(found)))
    colours = dict(zip(found, shades, strict=True))
    z = np.array(values["z"])
    both = np.concatenate([-z[::-1], z])
    for r, each in found.items():
        colour, y = colours[r], np.array(each["curve"])
        style = {"color": colour, "linewidth": 1.0}
        axes.plot(both, np.concatenate([-y[::-1], y]), label=f"r = {r}", **style)
        if r in SHOWN:
            at, height = _histogram(values["edges"], each["counts"], values["samples"])
            dots = {"marker": "o", "markersize": 1.8, "linestyle": "none"}
            axes.plot(at, height, color=colour, **dots)
    limit = np.array(values["limit"])
    dashed = {"color": "0", "linestyle": "--", "linewidth": 1.0}
    axes.plot(both, np.concatenate([-limit[::-1], limit]), label=LIMIT, **dashed)
    axes.set_xlabel("z")
    axes.set_title("p(z) z")
    axes.set_xlim(-3, 3)


def _histogram(
    edges: Sequence[float], counts: Sequence[int], samples: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of p(z) z: middles of the bins, and the share of a bin over its width times its middle."""
    widths, ends = np.diff(edges), np.asarray(edges)
    middles = (ends[:-1] + ends[1:]) / 2
    return middles, np.asarray(counts) / samples / widths * middles


def _distances(axes: Any, found: Any) -> None:
    shares = [100 * each["distance"] / PEAK for each in found.values()]
    axes.plot(list(found), shares, color="0.2", marker="o")
    for share, text in ((NEARLY, "nearly"), (SAME, "a line's width")):
        axes.axhline(100 * share, color="0.6", linewidth=0.8, linestyle=":")
        axes.annotate(text, (1, 100 * share), (0, 2), textcoords="offset points", size=6.5)
    _logs(axes, "distance to the limit, % of its peak")


def _kurtoses(axes: Any, found: Any) -> None:
    ranks = np.array(list(found), np.float64)
    axes.plot(ranks, 6 / ranks, color="0.6", linewidth=0.8, label="6 / r")
    measured = [each["excess_kurtosis"] for each in found.values()]
    errors = [each["kurtosis_error"] for each in found.values()]
    marks = {"marker": "o", "linestyle": "none", "elinewidth": 0.8, "capsize": 2}
    axes.errorbar(ranks, measured, errors, color="0.2", **marks)
    _logs(axes, "excess kurtosis, and 6 / r")
    axes.set_ylim(6 / ranks[-1] / 4, 6 / ranks[0] * 2)
    logarithmic(axes.yaxis)


def _logs(axes: Any, title: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    logarithmic(axes.xaxis)
    logarithmic(axes.yaxis)
    axes.set_xlabel("rank r")
    axes.set_title(title)


def _rows(data: Data) -> Iterator[Row]:
    for r, each in _ranks(data).items():
        values = data.cases["marginals"].values
        at, height = _histogram(values["edges"], each["counts"], values["samples"])
        for kind, zs, ys in (
            ("closed form", values["z"], each["curve"]),
            ("harness's draws", at.tolist(), height.tolist()),
        ):
            for z, y in zip(zs, ys, strict=True):
                yield {"rank": r, "kind": kind, "z": z, "p_z": y}


REPRODUCTION = Reproduction(
    title="The law of an entry of E nears the normal as the rank grows",
    judge=judge,
    draw=draw,
    rows=lambda data: list(_rows(data)),
    chosen=(
        "Nearly: within a tenth of the limit's peak. Indistinguishable: within the width of a "
        "line of the figure, 3 % of the peak.",
        "Draws are those that training uses, stored in half precision.",
    ),
)
