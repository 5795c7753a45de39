"""The gradient of EGGROLL nears that of full Gaussian noise as 1/r. Imports no jax."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
from rlbench.analysis.reproduced.rates import Rate, largest_t_allowed, rate, reference
from rlbench.analysis.style import finish, logarithmic, looks, panels

FIRST_RANK = 8
"""From which on exponents are fitted: below, terms of higher order in 1/r are seen."""
FAST, BETWEEN = -0.9, -0.75
"""An exponent of -1, given what terms of order 1/r^2 still do at rank 8; and halfway to -1/2."""
TITLES = {
    "one_sine": "sin⟨U, W⟩, 6 x 5",
    "three_sines": "three sines, 8 x 3",
    "larger": "sin⟨U, W⟩, 12 x 12",
    "tanh": "tanh⟨U, W⟩, 6 x 5",
}
"""By case, in the order in which they are drawn."""
LAWS = ("Gaussian", "Rademacher", "uniform", "both skewed", "only A skewed")
HARNESS = "Gaussian, the harness's draws"
SAMPLED = "Gaussian, sampled"


@dataclass(frozen=True)
class Curve:
    """Errors of the gradient against the rank.

    Attributes:
        case: which f.
        law: of the factors.
        ranks: at which.
        errors: ||g_LR - g||_F / ||g||_F, one a rank.
        standard_errors: of these; None if they are exact.
        symmetric: whether the theorem's assumption holds.
        third: the third cumulant of an entry of E at rank 1.
    """

    case: str
    law: str
    ranks: Sequence[int]
    errors: Sequence[float]
    standard_errors: Sequence[float] | None
    symmetric: bool
    third: float

    @property
    def rate(self) -> Rate:
        """From `FIRST_RANK` on."""
        kept = [i for i, r in enumerate(self.ranks) if r >= FIRST_RANK]
        spread = self.standard_errors
        return rate(
            [self.ranks[i] for i in kept],
            [self.errors[i] for i in kept],
            None if spread is None else [spread[i] for i in kept],
        )

    def __str__(self) -> str:
        return f"{TITLES[self.case]}, {self.law} {self.rate}"


def curves(data: Data) -> list[Curve]:
    """All that were measured, without the harness's draws."""
    found = []
    for name in TITLES:
        values = data.cases[name].values if name in data.cases else {}
        for law, curve in values.get("curves", {}).items():
            errors, symmetric, third = curve["errors"], curve["symmetric"], curve["third"]
            found.append(Curve(name, law, values["ranks"], errors, None, symmetric, third))
        if "standard_errors" in values:
            spread = values["standard_errors"]
            of = (values["ranks"], values["errors"], spread, True, 0.0)
            found.append(Curve(name, SAMPLED, *of))
    return found


def _verdict(agrees: bool, differs: bool) -> str:
    return AGREE if agrees else DIFFER if differs else UNTESTED


def _symmetric(data: Data) -> Finding:
    found = [curve for curve in curves(data) if curve.symmetric]
    rates = [curve.rate for curve in found]
    agrees = bool(rates) and all(each.high <= FAST for each in rates)
    listed = "; ".join(map(str, found))
    return Finding(
        "With bounded f and symmetric i.i.d. factors the error of the gradient is O(1/r).",
        "v1 Theorem 2, v2 Theorem 4",
        _verdict(agrees, any(each.low > FAST for each in rates)),
        f"Exponents with 95 % intervals: {listed}." if found else "Nothing was measured.",
        f"Agrees if, over ranks from {FIRST_RANK} on, the interval of every curve's log-log slope "
        f"ends at {FAST} or below; differs if one begins above.",
    )


def _skewed(data: Data) -> Finding:
    found = [curve for curve in curves(data) if not curve.symmetric]
    slow = [curve.rate for curve in found if curve.third]
    fast = [curve.rate for curve in found if not curve.third]
    agrees = (
        bool(slow) and all(r.low > BETWEEN for r in slow) and all(r.high < BETWEEN for r in fast)
    )
    differs = any(r.high < BETWEEN for r in slow) or any(r.low > BETWEEN for r in fast)
    listed = "; ".join(map(str, found))
    return Finding(
        "It is symmetry, by which odd cumulants vanish, that makes the error fall faster than "
        "r^-1/2.",
        "v1 Theorem 2, v2 Theorem 4: the assumption and what is said of it",
        _verdict(agrees, differs),
        f"Exponents with 95 % intervals: {listed}. If only A is skewed, the third cumulant of E "
        "is still zero."
        if found
        else "Nothing was measured.",
        f"Agrees if, over ranks from {FIRST_RANK} on, the interval of the slope lies above "
        f"{BETWEEN} (halfway between -1 and -1/2) where E has a third cumulant, and below where it "
        "has none; differs if one lies on the other side.",
    )


def _harness(data: Data) -> Finding:
    case = data.cases.get("draws")
    claim = "What this harness draws, applies and sums has the expectation that theory says."
    where = "v1 and v2, the update of EGGROLL; f(W) = sin⟨U, W⟩, for which it is known exactly"
    rule = (
        "Agrees if the largest |t| of an entry of the mean gradient stays below what it exceeds "
        "with probability 0.01, if all are right (Student's t, by Bonferroni)."
    )
    if case is None:
        return Finding(claim, where, UNTESTED, "Nothing was measured.", rule)
    draws = case.values["draws"]
    allowed = largest_t_allowed(
        sum(each["entries"] for each in draws.values()), case.values["generations"]
    )
    largest = max(each["largest_t"] for each in draws.values())
    listed = "; ".join(
        f"{name}: {each['error']:.4f} ± {each['standard_error']:.4f} (exact {each['exact']:.4f})"
        for name, each in draws.items()
        if each["rank"] is not None
    )
    pairs = case.values["generations"] * case.params["pairs"]
    return Finding(
        claim,
        where,
        AGREE if largest <= allowed else DIFFER,
        f"Relative error with standard error from {pairs:,} mirrored pairs a rank, {listed}; "
        f"largest |t| {largest:.2f}, allowed {allowed:.2f}.",
        rule,
    )


def judge(data: Data) -> list[Finding]:
    """The rate, the assumption under it, and the harness's own draws."""
    return [_symmetric(data), _skewed(data), _harness(data)]


def draw(data: Data) -> Figure:
    """Error against rank on log-log axes, a panel an f."""
    found = curves(data)
    shown = [name for name in TITLES if any(curve.case == name for curve in found)]
    figure, all_axes = panels(max(1, len(shown)), wide=2)
    look = looks(LAWS)
    for name, axes in zip(shown, all_axes, strict=False):
        mine = [curve for curve in found if curve.case == name]
        for curve in mine:
            _curve(axes, curve, look)
        if name == "one_sine":
            _points(axes, data)
        ranks = mine[0].ranks
        top = max(curve.errors[0] for curve in mine)
        reference(axes, ranks, 3 * top, -0.5, "$r^{-1/2}$")
        reference(axes, ranks, 0.45 * min(curve.errors[0] for curve in mine), -1, "$r^{-1}$")
        _axes(axes, TITLES[name], ranks[-1])
    note = "‖g_LR - g‖ / ‖g‖ in the Frobenius norm; bars are one standard error"
    return finish(figure, all_axes, [*LAWS, HARNESS], note)


def _curve(axes: Any, curve: Curve, look: dict[str, Any]) -> None:
    mine = look["Gaussian" if curve.law == SAMPLED else curve.law]
    style = {"color": mine.colour, "linestyle": mine.line, "marker": mine.marker}
    label = "Gaussian" if curve.law == SAMPLED else curve.law
    axes.errorbar(
        curve.ranks, curve.errors, curve.standard_errors, **style, label=label, elinewidth=0.8
    )


def _points(axes: Any, data: Data) -> None:
    if "draws" not in data.cases:
        return
    each = [one for one in data.cases["draws"].values["draws"].values() if one["rank"]]
    axes.errorbar(
        [one["rank"] for one in each],
        [one["error"] for one in each],
        [one["standard_error"] for one in each],
        color="0.1",
        marker="x",
        markersize=6,
        linestyle="none",
        elinewidth=0.8,
        capsize=2,
        zorder=5,
        label=HARNESS,
    )


def _axes(axes: Any, title: str, last: int) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(0.8, last * 2.6)
    axes.margins(y=0.12)
    logarithmic(axes.xaxis)
    logarithmic(axes.yaxis)
    axes.set_title(title)
    axes.set_xlabel("rank r")
    axes.set_ylabel("relative error")


def _rows(data: Data) -> Iterator[Row]:
    for curve in curves(data):
        spread = curve.standard_errors or [0.0] * len(curve.ranks)
        for r, error, standard in zip(curve.ranks, curve.errors, spread, strict=True):
            yield {
                "f": curve.case,
                "law": curve.law,
                "rank": r,
                "relative_error": error,
                "standard_error": standard,
            }
    for one in data.cases["draws"].values["draws"].values() if "draws" in data.cases else ():
        if one["rank"] is not None:
            yield {
                "f": "one_sine",
                "law": HARNESS,
                "rank": one["rank"],
                "relative_error": one["error"],
                "standard_error": one["standard_error"],
            }


REPRODUCTION = Reproduction(
    title="The gradient of EGGROLL nears that of full noise as 1/r",
    judge=judge,
    draw=draw,
    rows=lambda data: list(_rows(data)),
    chosen=(
        "f: sines and tanh of <U, W> with U a random direction, for which the error is known "
        "exactly or by sampling one factor only.",
        "sigma 1.3 (0.8 for three sines) at norm 1 of U, large enough for the error to be seen.",
        "The skewed law: a Bernoulli variable with p = 0.2, standardised.",
    ),
    limits="The theorem holds for every bounded f; these are four of them.",
)
