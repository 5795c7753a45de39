"""Figures 2a and 7: speed of a population's forward passes through one layer. Imports no jax."""

from collections.abc import Sequence
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
from rlbench.analysis.reproduced.rounds import Spread, case_of, ratios, spread
from rlbench.analysis.style import COLUMN, finish, logarithmic, looks

PAPER_SIZE = {"width": 8192, "dtype": "bfloat16", "pop_size": 1024}
POINTS = 10.0
"""Most by which a share of the speed of inference may differ from the paper's, of 100."""
LEAST = 1024
"""Width and population from which an order means something: noise of less stays in a cache."""
HUNDREDFOLD = 100.0
TOLERANCE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 5e-2}
"""By dtype: largest error of an output, over the outputs' root mean square. An output is rounded
once or twice, at 2^-24, 2^-11 or 2^-9 of its size, which is up to five times their mean; float32
sums thousands of products."""
LABELS = {
    "inference": "batched inference",
    "eggroll": "EGGROLL",
    "eggroll_fly": "EGGROLL, on the fly",
    "ppo": "forward, backward, SGD",
    "open_es_shared": "OpenES by pair",
    "open_es_shared_fly": "OpenES by pair, on the fly",
    "open_es_built": "OpenES by member",
    "open_es_built_fly": "OpenES by member, on the fly",
}
PAPER = {
    "inference": 100.0,
    "eggroll": 91.0,
    "eggroll_fly": 69.0,
    "ppo": 34.0,
    "open_es_built": 0.41,
    "open_es_built_fly": 0.054,
}
ORDERS = {
    "drawn before": ("inference", "eggroll", "ppo", "open_es_shared", "open_es_built"),
    "drawn on the fly": (
        "inference",
        "eggroll_fly",
        "ppo",
        "open_es_shared_fly",
        "open_es_built_fly",
    ),
}
SHARE_RULE = (
    f"agree if the median is within {POINTS:g} points of the paper's figure; only on an accelerator"
    " at the paper's width, dtype and population"
)
ORDER_RULE = (
    "within each round: agree if PPO-style is slower than EGGROLL and both forms of OpenES slower"
    " than PPO-style in all rounds, and EGGROLL not faster than inference in all of them; differ if"
    f" one of these is the other way in all rounds; otherwise, or if width or population is below"
    f" {LEAST}, not testable"
)
HUNDRED_RULE = (
    f"agree if EGGROLL's median speed is at least {HUNDREDFOLD:g} times that of OpenES by member,"
    " the paper's form, with noise drawn before and on the fly; only on an accelerator at the"
    " paper's width, dtype and population"
)


def speeds(case: Case) -> dict[str, list[float]]:
    """Members a second by variant and round, over those of inference in the round, times 100."""
    members = case.values["members"]
    return {
        name: ratios(case.samples["inference"], samples, 100 * members[name] / members["inference"])
        for name, samples in case.samples.items()
    }


def _where(case: Case) -> str:
    p = case.params
    return f"width {p['width']}, {p['dtype']}, population {p['pop_size']}, on a {_platform(case)}"


def _platform(case: Case) -> str:
    return str(case.values["platform"]).upper()


def _as_the_paper(case: Case) -> bool:
    same = all(case.params[name] == value for name, value in PAPER_SIZE.items())
    return same and case.values["platform"] != "cpu"


def _share(case: Case, name: str) -> tuple[str, str]:
    """Verdict on one of the paper's figures, and what was measured."""
    found = spread(speeds(case)[name])
    told = f"{found} % of the speed of inference at {_where(case)}; the paper has {PAPER[name]:g}"
    if not _as_the_paper(case):
        return UNTESTED, f"{told}, on another machine at another size"
    return (AGREE if abs(found.median - PAPER[name]) <= POINTS else DIFFER), told


def order(found: dict[str, list[float]], names: Sequence[str]) -> str:
    """Verdict on (inference, EGGROLL, PPO-style, forms of OpenES), fastest first."""
    inference, eggroll, ppo, *full = (found[name] for name in names)
    pairs = [(eggroll, ppo), *((ppo, each) for each in full)]
    gaps = [ratios(fast, slow) for fast, slow in pairs]
    reversed_ = [max(gap) < 1 for gap in gaps] + [min(ratios(eggroll, inference)) > 1]
    if any(reversed_):
        return DIFFER
    return AGREE if all(min(gap) > 1 for gap in gaps) else UNTESTED


def _order(case: Case, names: Sequence[str]) -> tuple[str, str]:
    found = speeds(case)
    told = "; ".join(f"{LABELS[name]} {spread(found[name])}" for name in names)
    told = f"normalised speeds at {_where(case)}: {told}"
    if min(case.params["width"], case.params["pop_size"]) < LEAST:
        return UNTESTED, f"{told}; that is too small"
    verdict = order(found, names)
    return verdict, told + "; not told apart in every round" * (verdict == UNTESTED)


def _over(case: Case, fast: str, slow: str) -> Spread:
    found = speeds(case)
    return spread(ratios(found[fast], found[slow]))


def _hundredfold(case: Case) -> tuple[str, str]:
    built = _over(case, "eggroll", "open_es_built")
    fly = _over(case, "eggroll_fly", "open_es_built_fly")
    told = (
        f"EGGROLL is {built} times as fast as OpenES by member, and"
        f" {_over(case, 'eggroll', 'open_es_shared')} times as fast as OpenES by pair;"
        f" on the fly {fly} and {_over(case, 'eggroll_fly', 'open_es_shared_fly')} times;"
        f" at {_where(case)}"
    )
    if not _as_the_paper(case):
        return UNTESTED, f"{told}: such a ratio grows with what a machine computes while it reads"
    return (AGREE if min(built.median, fly.median) >= HUNDREDFOLD else DIFFER), told


CLAIMS: tuple[tuple[str, str, str, Any], ...] = (
    (
        "EGGROLL reaches 91 % of the speed of batched inference, with noise drawn before",
        "Figure 2a",
        SHARE_RULE,
        lambda case: _share(case, "eggroll"),
    ),
    (
        "EGGROLL reaches 69 % of the speed of batched inference, with noise drawn on the fly",
        "Figure 7",
        SHARE_RULE,
        lambda case: _share(case, "eggroll_fly"),
    ),
    (
        "inference is at least as fast as EGGROLL, EGGROLL faster than PPO, PPO than OpenES, with"
        " noise drawn before",
        "Figure 2a",
        ORDER_RULE,
        lambda case: _order(case, ORDERS["drawn before"]),
    ),
    (
        "the same order with noise drawn on the fly",
        "Figure 7",
        ORDER_RULE,
        lambda case: _order(case, ORDERS["drawn on the fly"]),
    ),
    (
        "EGGROLL is a hundredfold faster than OpenES (by the figures: 222 times, on the fly 1280)",
        "abstract, Figures 2a and 7",
        HUNDRED_RULE,
        _hundredfold,
    ),
)


def _problem(case: Case | None) -> str:
    """Why nothing can be said, or nothing."""
    if case is None:
        return "the layer was not measured"
    limit = TOLERANCE[case.params["dtype"]]
    wrong = {name: e for name, e in case.values["errors"].items() if not e <= limit}
    if wrong:
        return f"outputs differ from those of explicitly perturbed matrices: {wrong}"
    return ""


def judge(data: Data) -> list[Finding]:
    """One finding for each of `CLAIMS`."""
    case = case_of(data, "layer", tuple(LABELS))
    problem = _problem(case)
    findings = []
    for claim, where, rule, test in CLAIMS:
        verdict, measured = (UNTESTED, problem) if problem else test(case)
        findings.append(Finding(claim, where, verdict, measured, rule))
    return findings


def rows(data: Data) -> list[dict[str, Any]]:
    """One for each variant."""
    case = case_of(data, "layer", tuple(LABELS))
    if case is None:
        return []
    found = speeds(case)
    table = []
    for name in LABELS:
        speed, members = spread(found[name]), case.values["members"][name]
        passed = members * case.params["passes"]
        table.append(
            {
                "variant": name,
                "width": case.params["width"],
                "dtype": case.params["dtype"],
                "members": members,
                "seconds_per_member": spread(case.samples[name]).median / passed,
                "normalised_speed": speed.median,
                "lowest": speed.low,
                "highest": speed.high,
                "paper": PAPER.get(name),
            }
        )
    return table


def draw(data: Data) -> Figure:
    """Bars on a log axis, lines from the lowest to the highest round, the paper's as diamonds."""
    figure = Figure(figsize=(COLUMN, 2.2))
    axes = figure.subplots()
    look, theirs = looks(("here", "paper")), "paper: H100, width 8192"
    table = rows(data)
    axes.set_xscale("log")
    axes.set_xlim(0.02, 3000)
    for y, row in enumerate(table):
        speed = row["normalised_speed"]
        axes.barh(y, speed, 0.62, color=look["here"].colour, label="measured here")
        axes.plot([row["lowest"], row["highest"]], [y, y], color="0.25", linewidth=1)
        axes.text(0.98, y, f"{speed:.3g}", transform=axes.get_yaxis_transform(), ha="right",
                  va="center", size=7)  # fmt: skip
        if row["paper"] is not None:
            axes.plot(row["paper"], y, "D", color=look["paper"].colour, markeredgecolor="white",
                      markersize=5, label=theirs)  # fmt: skip
    logarithmic(axes.xaxis)
    axes.set_yticks(range(len(table)), [LABELS[row["variant"]] for row in table])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("normalised speed")
    note = "batched inference is 100; lines: lowest to highest round"
    return finish(figure, [axes], ["measured here", theirs], note)


REPRODUCTION = Reproduction(
    title="Throughput of one layer under a population, beside batched inference",
    judge=judge,
    draw=draw,
    rows=rows,
    chosen=(
        "How the paper measured PPO's 34 is not told: here it is the forward pass, the gradients of"
        " weights and inputs, and an SGD step of the same layer on the same batch; the three matrix"
        " products alone make it a third of inference.",
        "OpenES runs with fewer members than the population, since every member costs the same and"
        " the paper's 1024 matrices (128 GiB at its width) fit no one GPU; speeds are members a"
        " second.",
        "OpenES is timed in two forms: by member, where a perturbed matrix is built for each, as"
        " the paper has it; and by pair, our own, where the two members share one read of their"
        " noise and the mean's product is one GEMM.",
        "Members are mirrored pairs that share their noise, as in the authors' code; Algorithm 1 of"
        " the paper has none.",
        "A variant is several passes in one program, each on the last outputs, so that memory is"
        " allocated once.",
    ),
    limits="On a CPU, in float32 at a small width, only the order can be tested: shares and ratios"
    " depend on how much a machine computes while it reads one number.",
)
