"""What low-rank perturbations save: r (m + n) numbers a layer instead of m n. Imports no jax."""

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
from rlbench.analysis.reproduced.rounds import case_of
from rlbench.analysis.style import finish, logarithmic, looks, panels

LOW, HIGH = 10, 100
"""The factor that is often told of EGGROLL's memory."""
SEARCHED = (1, 2, 4)
"""Ranks of the paper's search."""
NO_NUMBER = "no number of the paper's, which has r (m + n) for m n"
LABELS = {
    "eggroll r=1": "EGGROLL r=1",
    "eggroll r=4": "EGGROLL r=4",
    "open_es": "OpenES, ours",
    "naive": "OpenES, built weights",
}
FACTOR_RULE = (
    f"agree if every ratio is between {LOW} and {HIGH}; differ otherwise; only with the paper's"
    " network"
)


def numbers(shapes: Sequence[Sequence[int]], how: str) -> int:
    """Numbers of a pair's noise for parameters of these shapes; `how` is "full" or such as "r=4".

    A vector's noise is of full rank in either.
    """
    total = 0
    for shape in shapes:
        if len(shape) == 1:
            total += shape[0]
        elif how == "full":
            total += shape[0] * shape[1]
        else:
            total += int(how.removeprefix("r=")) * (shape[0] + shape[1])
    return total


def _formula(case: Case) -> tuple[str, str]:
    """Verdict on the formula, and what was counted."""
    size, wrong, count = case.values["bytes_per_number"], [], 0
    network = case.values["network"]
    found = [([m["shape"]], m["bytes"]) for m in case.values["matrices"]]
    found.append((network["shapes"], network["bytes"]))
    for shapes, by_how in found:
        for how, told in by_how.items():
            count += 1
            if told != size * numbers(shapes, how):
                wrong.append(f"{how} of {shapes}: {told} bytes")
    if wrong:
        return DIFFER, f"{len(wrong)} of {count} are other: {'; '.join(wrong)}"
    return (
        AGREE,
        f"{count} of {count} byte counts are exactly the formula's, the network's included",
    )


def _network(case: Case) -> tuple[str, str]:
    """Verdict on the noise of the whole network."""
    found = case.values["network"]["bytes"]
    ratios = {how: found["full"] / found[how] for how in (f"r={rank}" for rank in SEARCHED)}
    largest = max(case.values["network"]["shapes"], key=lambda shape: numbers([shape], "full"))
    layer = {how: numbers([largest], "full") / numbers([largest], how) for how in ratios}
    told = ", ".join(f"{how} {ratio:.1f} times less" for how, ratio in ratios.items())
    alone = ", ".join(f"{how} {ratio:.0f}" for how, ratio in layer.items())
    return _within(ratios.values()), (
        f"noise of a pair for the network with its biases, of {found['full']} bytes at full rank:"
        f" {told}; its largest layer alone: {alone}"
    )


def _within(ratios: Any) -> str:
    return AGREE if all(LOW <= ratio <= HIGH for ratio in ratios) else DIFFER


def _updates(data: Data) -> dict[int, Case]:
    """The compiled updates, by rising population."""
    found = [case_of(data, name, tuple(LABELS)) for name in data.cases if name[:7] == "update_"]
    by_population = {case.params["pop_size"]: case for case in found if case is not None}
    return dict(sorted(by_population.items()))


def _buffers(data: Data, under: str) -> tuple[str, str]:
    """Verdict on the buffers of an update, over EGGROLL's."""
    ratios, told = [], []
    for population, case in _updates(data).items():
        for form in ("eggroll r=1", "eggroll r=4"):
            ratio = case.samples[under][0] / case.samples[form][0]
            ratios.append(ratio)
            told.append(f"{ratio:.1f} ({form.partition(' ')[2]}, population {population})")
    if not ratios:
        return UNTESTED, "no compiled update was measured"
    below, above = sum(r < LOW for r in ratios), sum(r > HIGH for r in ratios)
    measured = (
        f"buffers of {LABELS[under]} over EGGROLL's: {', '.join(told)}; of {len(ratios)} ratios"
        f" {below} below {LOW} and {above} above {HIGH}{_peaks(data, under)}"
    )
    if any("network" in case.params for case in _updates(data).values()):
        return UNTESTED, f"another network than the paper's: {measured}"
    return _within(ratios), measured


def _resident(data: Data) -> dict[str, Case]:
    """The processes that ran a generation, by algorithm."""
    found = {c.params["algo"]: c for n, c in data.cases.items() if n[:9] == "resident_"}
    return {name: case for name, case in found.items() if case.samples.get("peak")}


def _peaks(data: Data, under: str) -> str:
    """The peaks of EGGROLL's process and the other's in words; nothing if there are none."""
    told = [
        f"{name} {case.samples['peak'][0] / 2**20:,.0f} MiB at population"
        f" {case.params['pop_size']} ({case.values['before'] / 2**20:,.0f} before the generation)"
        for name, case in _resident(data).items()
        if name in ("eggroll", under)
    ]
    return f"; resident at most, jax and compiler included: {', '.join(told)}" if told else ""


def judge(data: Data) -> list[Finding]:
    """The formula, the network's noise, and whole updates beside two forms of OpenES."""
    noise, missing = data.cases.get("noise"), (UNTESTED, "noise was not counted")
    formula = _formula(noise) if noise else missing
    network = _network(noise) if noise else missing
    findings = [
        Finding(
            "perturbing a layer takes r (m + n) numbers of memory instead of m n",
            "method, low-rank perturbations",
            *formula,
            "agree if what the harness stores is exactly that many numbers for every matrix, every"
            " rank and the whole network (whose vectors have full noise); differ otherwise",
        ),
        Finding(
            f"the noise of a policy takes {LOW} to {HIGH} times less memory, at ranks"
            f" {', '.join(map(str, SEARCHED))}",
            NO_NUMBER,
            *network,
            f"agree if each rank's ratio is between {LOW} and {HIGH}; differ otherwise",
        ),
    ]
    for under in ("open_es", "naive"):
        verdict, told = _buffers(data, under)
        claim = f"a whole update takes {LOW} to {HIGH} times less memory than with {LABELS[under]}"
        findings.append(Finding(claim, NO_NUMBER, verdict, told, FACTOR_RULE))
    return findings


def _row(what: str, form: str, size: str, found: int, formula: int | None) -> dict[str, Any]:
    return {"what": what, "form": form, "size": size, "bytes": found, "formula_bytes": formula}


def rows(data: Data) -> list[dict[str, Any]]:
    """One for each matrix and rank, update and process."""
    table = []
    if noise := data.cases.get("noise"):
        size, network = noise.values["bytes_per_number"], noise.values["network"]
        for one in noise.values["matrices"]:
            name = " x ".join(map(str, one["shape"]))
            for how, found in one["bytes"].items():
                table.append(_row("noise", how, name, found, size * numbers([one["shape"]], how)))
        for how, found in network["bytes"].items():
            expected = size * numbers(network["shapes"], how)
            table.append(_row("noise", how, "network", found, expected))
    for population, case in _updates(data).items():
        for form in LABELS:
            found = int(case.samples[form][0])
            table.append(_row("buffers of an update", form, str(population), found, None))
    for algo, case in _resident(data).items():
        found, members = int(case.samples["peak"][0]), str(case.params["pop_size"])
        table.append(_row("resident at most", algo, members, found, None))
    return table


def draw(data: Data) -> Figure:
    """A pair's noise against width, points on lines of the formula; buffers against population."""
    figure, (left, right) = panels(2, height=2.2, wide=2)
    names = {"r=1": "EGGROLL r=1", "r=4": "EGGROLL r=4", "full": "OpenES, ours"}
    look = looks(tuple(LABELS.values()))
    if noise := data.cases.get("noise"):
        square = [m for m in noise.values["matrices"] if m["shape"][0] == m["shape"][1]]
        widths = [m["shape"][0] for m in square]
        for how, label in names.items():
            one, size = look[label], noise.values["bytes_per_number"] / 2**10
            y = [size * numbers([m["shape"]], how) for m in square]
            left.plot(widths, y, color=one.colour, linestyle=one.line, linewidth=0.9)
            points = [m["bytes"][how] / 2**10 for m in square]
            left.plot(widths, points, one.marker, color=one.colour, label=label)
    updates = _updates(data)
    for form, label in LABELS.items() if updates else ():
        one = look[label]
        y = [case.samples[form][0] / 2**20 for case in updates.values()]
        right.plot(
            list(updates), y, color=one.colour, marker=one.marker, linestyle=one.line, label=label
        )
    for axes, title, x, y_label in (
        (left, "noise of a pair, one layer", "width of a square layer", "KiB"),
        (right, "compiled update, cartpole", "population", "MiB"),
    ):
        axes.set_title(title)
        if axes.get_lines():
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            logarithmic(axes.yaxis)
        axes.set_xlabel(x)
        axes.set_ylabel(y_label)
    return finish(figure, [left, right], list(LABELS.values()), "left: lines are r (m + n) and m n")


REPRODUCTION = Reproduction(
    title="Memory of perturbations: a layer's noise, and a whole update",
    judge=judge,
    draw=draw,
    rows=rows,
    chosen=(
        "Noise is counted for a mirrored pair, which shares it, in half precision; biases have full"
        " noise, as in the authors' code.",
        "A whole update is what XLA assigns to one generation on CartPole with the paper's network:"
        " arguments, results and temporaries. Our OpenES builds no weights, and draws its noise"
        " again where it would keep more than 512 MiB; the other builds every member's weights, in"
        " float32.",
    ),
    limits="Updates are of a small network on CartPole; for a layer of width 8192 the formula gives"
    " 4096 / r times less.",
)
