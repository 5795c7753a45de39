"""Rank of the aggregated update, and learning with few pairs. Imports no jax."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats
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
from rlbench.analysis.style import finish, logarithmic, looks, panels

STUCK, LEARNT = 0.5, 0.1
"""Shares of the squared error: above the first it was not learnt, below the second it was."""


def _rows(data: Data, case: str) -> list[dict[str, Any]]:
    found = data.cases.get(case)
    return list(found.values["rows"]) if found else []


def _limit(row: dict[str, Any]) -> int:
    return int(min(row["pairs"] * row["r"], row["m"], row["n"]))


def _mean(row: dict[str, Any]) -> tuple[float, float]:
    """Mean residual and the half width of its 95 % interval (Student's)."""
    x = np.asarray(row["residuals"], np.float64)
    error = float(x.std(ddof=1) / math.sqrt(len(x)))
    return float(x.mean()), float(scipy.stats.t.ppf(0.975, len(x) - 1)) * error


def _rank(data: Data) -> Finding:
    rows = _rows(data, "rank")
    wrong = [row for row in rows if row["rank"] != _limit(row)]
    told = f"{len(rows) - len(wrong):,} of {len(rows):,} updates have it"
    if wrong:
        first = wrong[0]
        told += (
            f"; one of {first['pairs']} pairs of rank {first['r']} on {first['m']}x{first['n']} "
            f"has {first['rank']}, not {_limit(first)}"
        )
    return Finding(
        "the update sum_i f_i E_i of N independent perturbations has rank min(N r, m, n)",
        "section 4 (the update); v2 Eq. 6",
        UNTESTED if not rows else DIFFER if wrong else AGREE,
        told + "; N counts pairs here, as a mirrored pair is one direction: of a population N, "
        "rank min(N r / 2, m, n)",
        "agree if every update has this rank, singular values below 1e-10 of the largest being "
        "zero; differ if one has another",
    )


def _few(data: Data) -> list[dict[str, Any]]:
    """Fresh noise whose updates have less than half of the full rank."""
    rows = [row for row in _rows(data, "learning") if row["fresh"]]
    return [row for row in rows if row["pairs"] * row["r"] < row["size"] / 2]


def _limits(data: Data) -> Finding:
    rows = _few(data)
    worst = max((_mean(row)[0] for row in rows), default=math.nan)
    verdict = UNTESTED
    if rows and worst >= STUCK:
        verdict = AGREE
    elif rows and worst <= LEARNT:
        verdict = DIFFER
    told = "; ".join(
        f"{row['pairs']} pairs of rank {row['r']}: {_mean(row)[0]:.4f} ± {_mean(row)[1]:.4f} left"
        for row in rows
    )
    return Finding(
        "if N r is far below min(m, n), the low rank of the update limits what is learnt",
        "no statement of the paper, which has N r > min(m, n) in all experiments; the break "
        "condition of a summary of it",
        verdict,
        f"with fresh noise in every generation, after equally many evaluations: {told}, as the "
        "theory of such a step tells whatever the rank: the updates of several generations add up "
        "to full rank",
        f"agree if some setting with N r < min(m, n) / 2 keeps {STUCK} or more of the squared "
        f"error, differ if every one keeps {LEARNT} or less",
    )


def _reused(data: Data) -> Finding:
    rows = [row for row in _rows(data, "learning") if not row["fresh"]]
    means = [(row, *_mean(row)) for row in rows]
    off = [row for row, mean, half in means if abs(mean - row["expected"]) > 2 * half]
    stuck = rows and all(mean >= STUCK for row, mean, _ in means)
    verdict = UNTESTED if not rows else AGREE if stuck and not off else DIFFER
    told = "; ".join(
        f"{row['pairs']} pairs of rank {row['r']}: {mean:.4f} ± {half:.4f} left, "
        f"{row['expected']:.4f} expected"
        for row, mean, half in means
    )
    return Finding(
        "with the same noise in every generation, nothing outside of the span of the first "
        "generation's perturbations is ever learnt",
        "not in the paper: the default of the authors' code (noise_reuse = 0)",
        verdict,
        told,
        f"agree if every setting keeps {STUCK} or more of the squared error and its mean lies "
        "within twice its 95 % interval of 1 - P/(m n), the share outside the span of P pairs",
    )


def judge(data: Data) -> Sequence[Finding]:
    """Rank, learning with few fresh pairs, learning with reused noise."""
    return [_rank(data), _limits(data), _reused(data)]


def rows(data: Data) -> Sequence[Row]:
    """Of both panels, in one shape."""
    found: list[Row] = []
    for row in _rows(data, "rank"):
        shape = f"{row['m']}x{row['n']}"
        seed = row["seed"]
        shared = {"shape": shape, "r": row["r"], "pairs": row["pairs"], "noise": "", "seed": seed}
        found.append({"what": "rank", **shared, "value": row["rank"], "expected": _limit(row)})
    for row in _rows(data, "learning"):
        shape, noise = f"{row['size']}x{row['size']}", "fresh" if row["fresh"] else "reused"
        for seed, value in enumerate(row["residuals"]):
            shared = {"shape": shape, "r": row["r"], "pairs": row["pairs"], "noise": noise}
            shared |= {"seed": seed, "value": value, "expected": row["expected"]}
            found.append({"what": "residual", **shared})
    return found


def _draw_ranks(axes: Any, found: Sequence[dict[str, Any]]) -> list[str]:
    labels = list(dict.fromkeys(f"{row['m']}x{row['n']}, r={row['r']}" for row in found))
    look = looks(labels)
    for label in labels:
        mine = [row for row in found if f"{row['m']}x{row['n']}, r={row['r']}" == label]
        axes.plot(
            [row["pairs"] * row["r"] for row in mine],
            [row["rank"] for row in mine],
            color=look[label].colour,
            marker=look[label].marker,
            linestyle="none",
            fillstyle="none",
            label=label,
        )
    if found:
        x = np.array(sorted({row["pairs"] * row["r"] for row in found}))
        for small in sorted({min(row["m"], row["n"]) for row in found}):
            axes.plot(x, np.minimum(x, small), color="0.6", linewidth=0.7, zorder=0)
    axes.set(xlabel="pairs x r", ylabel="rank of the update")
    _logarithmic(axes)
    axes.set_title("lines: min(pairs x r, m, n)")
    return labels


def _draw_learning(axes: Any, found: Sequence[dict[str, Any]]) -> list[str]:
    groups = {(row["r"], row["fresh"]) for row in found}
    names = {g: f"{'fresh' if g[1] else 'reused'} noise, r={g[0]}" for g in sorted(groups)}
    look = looks(list(names.values()))
    for group, label in names.items():
        mine = [row for row in found if (row["r"], row["fresh"]) == group]
        pairs = [row["pairs"] for row in mine]
        means = [_mean(row) for row in mine]
        axes.errorbar(
            pairs,
            [mean for mean, _ in means],
            yerr=[half for _, half in means],
            color=look[label].colour,
            marker=look[label].marker,
            linestyle="none",
            label=label,
        )
        axes.plot(pairs, [row["expected"] for row in mine], color=look[label].colour, linewidth=0.7)
    axes.set(xlabel="pairs a generation", ylabel="squared error left")
    _logarithmic(axes)
    axes.set_title("lines: theory")
    return list(names.values())


def _logarithmic(axes: Any) -> None:
    axes.set(xscale="log", yscale="log")
    logarithmic(axes.xaxis)
    logarithmic(axes.yaxis)


def draw(data: Data) -> Figure:
    """Ranks, and residuals after learning, each with what theory says."""
    figure, (left, right) = panels(2, height=2.3)
    labels = _draw_ranks(left, _rows(data, "rank"))
    labels += _draw_learning(right, _rows(data, "learning"))
    return finish(figure, [left, right], labels)


REPRODUCTION = Reproduction(
    title="The rank of the update against pairs and r, and learning when N r is too small",
    judge=judge,
    draw=draw,
    rows=rows,
    chosen=(
        "The task is to learn an orthogonal matrix T from f(W) = -|W - T|^2 / 2, so that every "
        "direction is needed alike and the expected error has a closed form.",
        "Settings are compared after equally many evaluated pairs, each with the step size that is "
        "best for fresh noise (a quarter of it for reused noise, which diverges with more).",
    ),
)
