"""Appendix F (v2): flops a byte of inference, of a full-rank ES and of EGGROLL. Imports no jax.

One square layer of width m, a batch of B rows, s bytes a number. Flops are the multiplications and
additions of the products; bytes are every operand read, and every result written, once.
"""

import math
from collections.abc import Mapping
from typing import Any

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
from rlbench.analysis.reproduced.rounds import case_of, spread
from rlbench.analysis.style import COLUMN, finish, logarithmic, looks

WIDTH, RIDGE, BYTES = 8192, 300, 2
"""The paper's layer; flops a byte from which an H100 is bound by what it computes; bfloat16."""
BATCHES = {"inference": 324, "EGGROLL r=1": 352, "reuse of an ES's perturbation": 324}
"""The smallest with which the paper reaches the ridge."""
FACTOR = 1.5
"""Most by which flop/s may exceed what the measured bandwidth allows: reads alone can be faster
than the stream, which also writes."""
SHARE = 0.5
"""Of the GEMM's flop/s, from which a form counts as near the roof of computing."""
BEYOND = 1.5
"""Times the largest cache: the least size of a matrix that every pass must read anew."""
COUNTED, MOVED = 0.01, 0.1
"""Most by which XLA's count of flops, or of bytes, may differ from ours."""


def inference(m: int, batch: int, s: float) -> tuple[float, float]:
    """(flops, bytes): a GEMM that reads inputs and weights and writes outputs."""
    return 2 * batch * m**2, s * (2 * batch * m + m**2)


def full_rank(m: int, batch: int, s: float) -> tuple[float, float]:
    """(flops, bytes): every row has a perturbed matrix of its own."""
    return 2 * batch * m**2, s * batch * (2 * m + m**2)


def eggroll(m: int, batch: int, s: float, rank: int) -> tuple[float, float]:
    """(flops, bytes): inference, and for each row B^T x, A (B^T x) and an addition.

    Read are 2 m r numbers of factors a row; the r numbers of B^T x are written and read.
    """
    flops, moved = inference(m, batch, s)
    return flops + batch * (4 * m * rank + m), moved + s * batch * rank * (2 * m + 2)


def smallest_batch(m: int, s: float, ridge: float, rank: int = 0) -> int | None:
    """The smallest batch of EGGROLL, or of inference if the rank is 0, at the ridge or above it.

    From flops >= ridge * bytes, both linear in the batch. None if no batch is enough.
    """
    one, two = (eggroll(m, batch, s, rank) if rank else inference(m, batch, s) for batch in (1, 2))
    flops, moved = two[0] - one[0], two[1] - one[1]
    gain = flops - ridge * moved
    return math.ceil(ridge * (one[1] - moved) / gain) if gain > 0 else None


def work(name: str, params: Mapping[str, Any], s: float) -> tuple[float, float]:
    """(flops, bytes) of a measured variant, such as "eggroll r=4 64"."""
    form, batch, m = name.rpartition(" ")[0], int(name.rpartition(" ")[2]), params["width"]
    if form.startswith("eggroll"):
        return eggroll(m, batch, s, int(form.partition("=")[2]))
    return (full_rank if form == "es" else inference)(m, batch, s)


def _counts() -> dict[str, int | None]:
    plain = smallest_batch(WIDTH, BYTES, RIDGE)
    ours = (plain, smallest_batch(WIDTH, BYTES, RIDGE, rank=1), plain)
    return dict(zip(BATCHES, ours, strict=True))


def _batches() -> Finding:
    ours, most = _counts(), full_rank(WIDTH, 1, BYTES)
    same = ours == BATCHES and most[0] / most[1] < 1
    told = ", ".join(f"{name} {count}" for name, count in ours.items())
    return Finding(
        f"at width {WIDTH} in bfloat16 an H100 ({RIDGE} flops a byte) needs a batch of 324 for"
        " inference and 352 for EGGROLL r=1, and an ES that reuses each perturbation 324 times;"
        " without reuse its intensity is below 1",
        "appendix F",
        AGREE if same else DIFFER,
        f"counted anew: {told}; intensity of a full-rank ES {most[0] / most[1]:.4f} at any batch",
        "agree if the formulas counted anew give the same three numbers and an intensity below 1",
    )


def points(case: Case) -> dict[str, dict[str, float]]:
    """By variant: intensity, flop/s (median, low, high), and the memory roof's flop/s there."""
    roof = roofs(case)["bandwidth"]
    found = {}
    for name, samples in case.samples.items():
        if name in case.values["work"]:
            continue
        flops, moved = work(name, case.params, case.values["bytes_per_number"])
        rate = spread([flops / seconds for seconds in samples])
        found[name] = {
            "intensity": flops / moved,
            "flops_per_second": rate.median,
            "lowest": rate.low,
            "highest": rate.high,
            "memory_roof": roof * flops / moved,
        }
    return found


def roofs(case: Case) -> dict[str, float]:
    """The best over rounds: `peak` in flop/s, `bandwidth` in bytes a second."""
    best = {name: amount / min(case.samples[name]) for name, amount in case.values["work"].items()}
    return {"peak": best["gemm"], "bandwidth": max(best["triad"], best["read"])}


def _last(found: Mapping[str, Any], form: str) -> str:
    """The variant of a form with the largest batch."""
    names = [name for name in found if name.rpartition(" ")[0] == form]
    return max(names, key=lambda name: int(name.rpartition(" ")[2]))


def _bound(case: Case) -> tuple[str, str]:
    """Verdict on the two bounds, and what was measured."""
    found, best = points(case), roofs(case)
    matrix = case.params["width"] ** 2 * case.values["bytes_per_number"]
    over = [p["flops_per_second"] / p["memory_roof"] for n, p in found.items() if n[:3] == "es "]
    shares = {
        form: found[_last(found, form)]["flops_per_second"] / best["peak"]
        for form in ("inference", "eggroll r=1", "es")
    }
    told = (
        f"roofs {best['peak'] / 1e9:.3g} Gflop/s and {best['bandwidth'] / 1e9:.3g} GB/s; the ES is"
        f" at {min(over):.2f} to {max(over):.2f} of what that bandwidth allows; at the largest"
        f" batch {shares['inference']:.0%} of the roof of computing for inference,"
        f" {shares['eggroll r=1']:.0%} for EGGROLL r=1, {shares['es']:.0%} for the ES"
    )
    if matrix < BEYOND * case.values["cache_bytes"]:
        return UNTESTED, f"a matrix of {matrix / 2**20:.3g} MiB stays in a cache; {told}"
    rise = min(shares["inference"], shares["eggroll r=1"]) >= SHARE
    return (AGREE if max(over) <= FACTOR and shares["es"] < SHARE and rise else DIFFER), told


def _xla(case: Case, what: str, most: float) -> tuple[str, str]:
    """XLA's count of "flops" or "bytes" over ours, and whether it is within `most` of it."""
    index = ("flops", "bytes").index(what)
    over: dict[str, list[float]] = {}
    for name, counts in case.values["xla"].items():
        if counts[what] is None:
            return UNTESTED, "this backend does not tell XLA's count"
        ours = work(name, case.params, case.values["bytes_per_number"])[index]
        over.setdefault(name.rpartition(" ")[0], []).append(counts[what] / ours)
    told = ", ".join(f"{form} {min(x):.4g} to {max(x):.4g}" for form, x in over.items())
    worst = max(abs(ratio - 1) for found in over.values() for ratio in found)
    told = f"XLA's {what} over the formula's, all batches: {told}"
    if what == "bytes":
        told += "; more where it writes the mean's product and reads it again to add the noise's"
    return (AGREE if worst <= most else DIFFER), told


CLAIMS: tuple[tuple[str, str, Any], ...] = (
    (
        "a full-rank ES is bound by memory at any batch, while inference and EGGROLL rise to what"
        " the machine computes",
        f"agree if the ES never has more than {FACTOR:g} times the flop/s that its intensity and"
        f" the measured bandwidth allow, and stays below {SHARE:.0%} of a GEMM's, while inference"
        " and EGGROLL r=1 reach that share at the largest batch; differ otherwise; not testable if"
        f" a matrix is smaller than {BEYOND:g} times the largest cache",
        _bound,
    ),
    (
        "the flops of the formulas are those that are computed",
        f"agree if XLA's count for every compiled variant is within {COUNTED:.0%} of the formula's",
        lambda case: _xla(case, "flops", COUNTED),
    ),
    (
        "the bytes of the formulas are those that are moved",
        f"agree if XLA's count for every compiled variant is within {MOVED:.0%} of the formula's",
        lambda case: _xla(case, "bytes", MOVED),
    ),
)


def _case(data: Data) -> Case | None:
    return case_of(data, "layer", ("gemm", "triad", "read"))


def judge(data: Data) -> list[Finding]:
    """The counted batches, and one finding for each of `CLAIMS`."""
    case = _case(data)
    findings = [_batches()]
    for claim, rule, test in CLAIMS:
        verdict, told = (UNTESTED, "the layer was not measured") if case is None else test(case)
        findings.append(Finding(claim, "appendix F", verdict, told, rule))
    return findings


def rows(data: Data) -> list[dict[str, Any]]:
    """One for each form and batch."""
    case = _case(data)
    if case is None:
        return []
    return [
        {
            "form": name.rpartition(" ")[0],
            "batch": int(name.rpartition(" ")[2]),
            "width": case.params["width"],
            "bytes_per_number": case.values["bytes_per_number"],
            **point,
            "xla_flops": case.values["xla"][name]["flops"],
            "xla_bytes": case.values["xla"][name]["bytes"],
        }
        for name, point in points(case).items()
    ]


NAMES = {
    "inference": "inference",
    "eggroll r=1": "EGGROLL r=1",
    "eggroll r=4": "EGGROLL r=4",
    "es": "full-rank ES",
}


def draw(data: Data) -> Figure:
    """The roofline: flop/s against flops a byte, a point a batch."""
    figure = Figure(figsize=(COLUMN, 2.4))
    axes = figure.subplots()
    table, case, look = rows(data), _case(data), looks(tuple(NAMES))
    if case is not None:
        best, most = roofs(case), 2 * max(row["intensity"] for row in table)
        least = 0.5 * min(row["intensity"] for row in table)
        ridge = min(max(best["peak"] / best["bandwidth"], least), most)
        heights = [x * best["bandwidth"] / 1e9 for x in (least, ridge)] + [best["peak"] / 1e9]
        axes.plot([least, ridge, most], heights, color="0.3", linewidth=1, label="measured roofs")
        axes.set_xlim(least, most)
    for form, label in NAMES.items():
        mine = [row for row in table if row["form"] == form]
        mine.sort(key=lambda row: row["batch"])
        x = [row["intensity"] for row in mine]
        y = [row["flops_per_second"] / 1e9 for row in mine]
        one = look[form]
        axes.plot(x, y, color=one.colour, marker=one.marker, linestyle=one.line, label=label)
    if table:
        axes.set_xscale("log")
        axes.set_yscale("log")
        logarithmic(axes.xaxis)
        logarithmic(axes.yaxis)
    axes.set_xlabel("flops a byte (by the formulas)")
    axes.set_ylabel("Gflop/s")
    return finish(figure, [axes], [*NAMES.values(), "measured roofs"], "a point is a batch")


REPRODUCTION = Reproduction(
    title="Arithmetic intensity, and the roofline of this machine",
    judge=judge,
    draw=draw,
    rows=rows,
    chosen=(
        "The roofs are measured: the flop/s of a large square GEMM, and the bytes a second of"
        " STREAM's triad or of a sum over an array, whichever has more, each in its best round.",
        "The ES multiplies every row by a matrix of its own that was perturbed before, as the"
        " formula counts it; EGGROLL is the product that trains, with factors in the layer's"
        " dtype.",
    ),
    limits="The paper's 300 flops a byte are an H100's; a CPU's ridge is far lower, so that smaller"
    " batches suffice here.",
)
