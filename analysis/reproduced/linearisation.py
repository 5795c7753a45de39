"""How sigma must fall with the number of weights for ES to follow the gradient. Imports no jax."""

from collections.abc import Iterator, Sequence

from rlbench.analysis.reproduced.claim import (
    AGREE,
    DIFFER,
    UNTESTED,
    Data,
    Finding,
    Reproduction,
    Row,
)
from rlbench.analysis.reproduced.linearisation_curves import (
    EGGROLL,
    ES,
    FIRST_WEIGHTS,
    NORM,
    PRODUCT,
    SQUARE,
    THIN,
    Family,
    families,
    scale,
)
from rlbench.analysis.reproduced.linearisation_figure import draw
from rlbench.analysis.reproduced.rates import largest_t_allowed

TOLERANCE = 0.05
"""Of an exponent: what terms of relative order d^-1/2 still do from 1000 weights on."""
NOTHING = "Nothing was measured."
T_RULE = (
    "the largest |t| stays below what it exceeds with probability 0.01, if all are right "
    "(Student's t, by Bonferroni)"
)


def _exponents(data: Data, alphas: Sequence[float], claim: str, where: str) -> Finding:
    found = list(families(data, SQUARE, alphas))
    off = [abs(f.rate(f.distance(ES)).slope - f.predicted) for f in found]
    listed = "; ".join(
        f"α = {f.alpha:g}, σ = d^-{f.power:g}: {f.rate(f.distance(ES)).slope:.3f} "
        f"({f.predicted:g}), at {f.d[-1]:.3g} weights {f.distance(ES)[-1]:.2g}"
        for f in found
    )
    return Finding(
        claim,
        where,
        UNTESTED if not found else AGREE if max(off) <= TOLERANCE else DIFFER,
        f"Exponents in d of the exact relative distance of ES (and those of the theorem), {listed}."
        if found
        else NOTHING,
        f"Agrees if every exponent, fitted from {FIRST_WEIGHTS} weights on, is within {TOLERANCE} "
        "of α(1/2 - p).",
    )


def _theorem_1(data: Data) -> Finding:
    return _exponents(
        data,
        (0.5, 1.0),
        "For f with an α-Hölder gradient, ES is Θ((σ √d)^α) from the gradient: it linearises if "
        "σ falls faster than d^-1/2.",
        "v2 Theorem 1",
    )


def _theorem_2(data: Data) -> Finding:
    return _exponents(
        data,
        (2.0,),
        "For a cubic, the distance vanishes under σ = o(d^-1/2), is constant at d^-1/2, and "
        "diverges above: Θ(σ² d).",
        "v2 Theorem 2",
    )


def _tensor(data: Data) -> Finding:
    case = data.cases.get("tensor")
    claim = (
        "What a cubic adds to the gradient of ES is (σ²/2) E[C(v, v, ·)]; it is absent if the "
        "partial trace of C is zero."
    )
    rule = f"Agrees if, over all entries of both tensors under ES, {T_RULE}."
    if case is None:
        return Finding(claim, "v2 Theorem 2", UNTESTED, NOTHING, rule)
    tensors = case.values["tensors"]
    of_es = [each[ES] for each in tensors.values()]
    allowed = largest_t_allowed(sum(one["entries"] for one in of_es), case.values["generations"])
    largest = max(one["largest_t"] for one in of_es)
    low_rank = max(
        one["largest_t"] for each in tensors.values() for algo, one in each.items() if algo != ES
    )
    listed = "; ".join(
        f"{name}, {algo}: {one['norm']:.3f} ± {one['standard_error']:.3f} (exact "
        f"{one['exact']:.3f})"
        for name, each in tensors.items()
        for algo, one in each.items()
    )
    return Finding(
        claim,
        "v2 Theorem 2",
        AGREE if largest <= allowed else DIFFER,
        f"Norm over σ² of what is added, by the harness's draws, {listed}; largest |t| of ES "
        f"{largest:.2f}, allowed {allowed:.2f}. The exception is ES's: at finite rank EGGROLL adds "
        f"(σ²/r) Σ C[(i, l), (k, j), (k, l)] to it (largest |t| to that: {low_rank:.2f}).",
        rule,
    )


def _bound(family: Family, decay: float) -> tuple[float, float]:
    """Exponents of Theorem 3's bounds under L ~ d^-decay: to the gradient, and to ES."""
    to_gradient = 2 - 2 * family.power - decay
    return to_gradient, max(0.5 - family.power, to_gradient)


def _theorem_3(data: Data) -> Finding:
    cubics = [*families(data, SQUARE, (2.0,)), *families(data, SQUARE, f=PRODUCT)]
    inside = [
        (family, decay)
        for family in cubics
        for decay in (0.0, 1.0)
        if family.power > 0.5 and _bound(family, decay)[0] < 0
    ]
    parts, agrees = [], True
    for family, decay in inside:
        # f's third derivative, and with it L and both distances, are proportional to c.
        to_gradient = family.rate(family.distance(EGGROLL) * family.d**-decay)
        to_es = family.rate(family.gap * family.d**-decay)
        bounds = _bound(family, decay)
        agrees &= to_gradient.high <= bounds[0] + TOLERANCE and to_es.high <= bounds[1] + TOLERANCE
        parts.append(
            f"{family.f}, σ = d^-{family.power:g}, L ~ d^{-decay:g}: {to_gradient.slope:.2f} "
            f"({bounds[0]:.2f}), to ES {to_es.slope:.2f} ({bounds[1]:.2f})"
        )
    listed = "; ".join(parts)
    return Finding(
        "EGGROLL linearises at any fixed rank, also r = 1: its distance to the gradient is "
        "O(L (σ d)²), and to ES O(σ √d (1 + L σ d^3/2)).",
        "v2 Theorem 3",
        UNTESTED if not inside else AGREE if agrees else DIFFER,
        f"Exponents in d of the exact distances of cubics at r = 1 (and of the bounds), {listed}."
        if inside
        else NOTHING,
        "Agrees if, wherever the theorem's conditions hold, the exponents of both distances, "
        f"fitted from {FIRST_WEIGHTS} weights on, are at most the bounds' (within {TOLERANCE}).",
    )


def _gap(family: Family) -> str:
    return (
        f"{family.f}, α = {family.alpha:g}, {family.shapes}, σ = d^-{family.power:g}: "
        f"{family.rate(family.relative_gap)}"
    )


def _consistent(data: Data) -> Finding:
    every = [f for f in _all(data) if f.power >= 0.5]
    linear = [f for f in every if f.power > 0.5]
    slowest = max(linear, key=lambda f: f.rate(f.relative_gap).high, default=None)
    agrees = slowest is not None and slowest.rate(slowest.relative_gap).high < 0
    critical = "; ".join(
        f"{_gap(f)}, ending at {f.relative_gap[-1]:.2g}"
        for f in every
        if f.power == 0.5 and f.alpha == 2.0
    )
    return Finding(
        "EGGROLL at r = 1 becomes ES as the number of weights grows, under σ = o(d^-1/2): an "
        "answer to v1's question of why r = 1 works.",
        "v1, open questions; v2 Theorem 3",
        UNTESTED if slowest is None else AGREE if agrees else DIFFER,
        f"{len(linear)} exponents in d of the exact gap to ES over ES, by f, shapes and σ, slowest "
        f"{_gap(slowest)}. In the critical regime, of which the theorem says nothing, it "
        f"depends: {critical}."
        if slowest is not None
        else NOTHING,
        "Agrees if, with σ falling faster than d^-1/2, the 95 % interval of every exponent of the "
        f"relative gap, fitted from {FIRST_WEIGHTS} weights on, lies below zero.",
    )


def _all(data: Data) -> list[Family]:
    return [
        family
        for f in (NORM, PRODUCT)
        for shapes in (SQUARE, THIN)
        for family in families(data, shapes, f=f)
    ]


def _harness(data: Data) -> Finding:
    case = data.cases.get("draws")
    claim = "What this harness draws, applies and sums has these expectations, for ES and EGGROLL."
    where = "v2, ES and EGGROLL; closed forms of these f"
    rule = f"Agrees if, over all sizes and exponents, {T_RULE}."
    points = [] if case is None else case.values["points"]
    if case is None or not points:
        return Finding(claim, where, UNTESTED, NOTHING, rule)
    t = [abs(p["moment"] - p["exact"]) / p["standard_error"] for p in points]
    allowed = largest_t_allowed(len(points), case.values["generations"])
    last = [p for p in points if p["d"] == max(q["d"] for q in points)]
    listed = "; ".join(
        f"{p['f']}, α = {p['alpha']:g}, {p['algo']}: {p['moment'] / p['exact']:.3f} ± "
        f"{p['standard_error'] / p['exact']:.3f}"
        for p in last
    )
    return Finding(
        claim,
        where,
        AGREE if max(t) <= allowed else DIFFER,
        f"{len(points)} moments of up to {last[0]['d']:,} weights: largest |t| {max(t):.2f}, "
        f"allowed {allowed:.2f}; of the largest matrix, over what they should be, {listed}.",
        rule,
    )


def judge(data: Data) -> list[Finding]:
    """The theorems in turn, then whether the harness is what they are about."""
    return [
        _theorem_1(data),
        _theorem_2(data),
        _tensor(data),
        _theorem_3(data),
        _consistent(data),
        _harness(data),
    ]


def _row(family: Family, kind: str, algo: str, d: float, distance: float, error: float) -> Row:
    return {
        "f": family.f,
        "alpha": family.alpha,
        "power": family.power,
        "shapes": family.shapes,
        "kind": kind,
        "algo": algo,
        "d": int(d),
        "distance": distance,
        "standard_error": error,
    }


def _rows(data: Data) -> Iterator[Row]:
    case = data.cases.get("draws")
    points = [] if case is None else case.values["points"]
    for family in _all(data):
        for algo in (ES, EGGROLL):
            for d, distance in zip(family.d, family.distance(algo), strict=True):
                yield _row(family, "exact", algo, d, float(distance), 0.0)
        for p in points if family.shapes == SQUARE else ():
            if (p["f"], p["alpha"]) == (family.f, family.alpha):
                by = float(scale(family.coefficient, family.alpha, family.power, p["d"]))
                found = (by * p["moment"], by * p["standard_error"])
                yield _row(family, "harness's draws", p["algo"], p["d"], *found)


REPRODUCTION = Reproduction(
    title="When ES and EGGROLL follow the gradient as the network grows",
    judge=judge,
    draw=draw,
    rows=lambda data: list(_rows(data)),
    chosen=(
        "f(W) = <U, W>(1 + ||W||^α / 2) (norm; α = 1/2, 1, 2) and <U, W + W Wᵀ W / 2> (product) at "
        "W = 0, for which both gradients are known exactly.",
        "σ = d^-1.25, d^-0.75, d^-0.5 and d^-0.25, where the theorems leave the power open.",
        "Square matrices, and ones of width 4 whose other side grows.",
    ),
    limits="One weight matrix, and functions with known answers: not a network's loss.",
)
