"""The benchmark as tables: in the terminal, and the same as Markdown. Imports no jax."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import correlation, fmean, linear_regression, median
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlbench.bench.ratios import UNITS
from rlbench.display import quantity

HEADER = ("case", "what", "median", "low .. high", "besides")
TITLES = {
    "forward": "Forward: seconds of passes of a whole population",
    "generation": "Generation: seconds of pop_size x horizon env steps, all of them live",
    "memory": "Memory: bytes XLA assigns to one update",
    "peers": "Peers: seconds of one generation",
    "scaling": "Scaling: seconds of one generation",
    "start": "Start: wall seconds of commands",
    "first_generation": "Start: wall seconds to the first generation",
    "report": "Report: wall seconds of rlbench report",
}


@dataclass(frozen=True)
class Section:
    """One kind's table.

    Attributes:
        title: above it.
        rows: as `HEADER`.
        notes: below it, what follows from several cases.
    """

    title: str
    rows: list[tuple[str, str, str, str, str]]
    notes: list[str]


def amount(value: float, unit: str) -> str:
    """A sample as tables show it."""
    if unit == "bytes":
        return f"{value / 2**20:,.4g} MiB"
    return f"{value * 1e3:.3g} ms" if value < 0.1 else f"{value:.3g} s"


def _plain(values: dict[str, Any]) -> str:
    """Numbers and words of a mapping on one line, nested ones left out."""
    told = []
    for name, value in values.items():
        words, _, unit = name.rpartition("_")
        if isinstance(value, int | float) and unit in ("bytes", "seconds"):
            told.append(f"{words.replace('_', ' ')} {amount(value, unit)}")
        elif isinstance(value, int | float):
            told.append(f"{name.replace('_', ' ')} {quantity(float(value))}")
        elif isinstance(value, str):
            told.append(value)
    return ", ".join(told)


def besides(case: dict[str, Any], variant: str) -> str:
    """What a case's values say of a variant: env steps as steps/s, the rest as it is."""
    values = case["values"].get(variant, case["values"] if len(case["samples"]) == 1 else {})
    if isinstance(values, list):  # one a round
        values = {name: median(row[name] for row in values) for name in values[0]}
    seconds = fmean(case["samples"][variant])
    told = [
        f"{quantity(values[name] / seconds)} {label} steps/s"
        for name, label in (("simulated_env_steps", "simulated"), ("live_env_steps", "live"))
        if name in values
    ]
    rest = {k: v for k, v in values.items() if not k.endswith("_env_steps")}
    return ", ".join([*told, *filter(None, [_plain(rest)])])


def case_rows(case: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """A case's ratios, then its samples by variant, then what is missing."""
    name = case["name"]
    for end in ("skipped", "failed"):
        if end in case:
            lines = case[end].strip().splitlines() or [""]
            return [(name, end, "-", "-", lines[-1])]
    rows = []
    for label, r in case["ratios"].items():
        spread = f"{r['low']:.3g} .. {r['high']:.3g}"
        rows.append((name, label, f"{r['median']:.3g}x", spread, ""))
    unit = UNITS.get(case["kind"], "seconds")
    for variant, samples in case["samples"].items():
        low, high = amount(min(samples), unit), amount(max(samples), unit)
        middle = amount(median(samples), unit)
        rows.append((name, variant, middle, f"{low} .. {high}", besides(case, variant)))
    if told := len(case["samples"]) > 1 and _plain(case["values"]):
        rows.append((name, "in all", "", "", told))
    for variant, values in case["values"].items():
        if isinstance(values, dict) and "skipped" in values:
            rows.append((name, variant, "-", "-", f"skipped: {values['skipped']}"))
    return rows


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """The least-squares line through (x, y) points.

    Returns:
        (slope, intercept, R^2).
    """
    xs, ys = [x for x, _ in points], [y for _, y in points]
    slope, intercept = linear_regression(xs, ys)
    return slope, intercept, correlation(xs, ys) ** 2


def scaling_notes(cases: Sequence[dict[str, Any]]) -> list[str]:
    """The line over populations, and what a second device brings."""
    done = [case for case in cases if "samples" in case]
    notes = []
    points = [
        (float(case["params"]["pop_size"]), median(case["samples"]["eggroll"]))
        for case in done
        if case["params"]["axis"] == "population"
    ]
    if len(points) > 2:
        slope, intercept, r2 = fit(points)
        notes.append(
            f"Line over populations {points[0][0]:,.0f} to {points[-1][0]:,.0f}: "
            f"{slope * 1e6:.3g} us a member + {intercept * 1e3:.3g} ms, R^2 = {r2:.4f}."
        )
    by_env: dict[str, dict[int, float]] = {}
    for case in done:
        if case["params"]["axis"] == "devices":
            row = by_env.setdefault(case["params"]["env"], {})
            # Those it had: a flag of the user's own wins over what the case asked for.
            row[case["values"]["devices"]] = median(case["samples"]["eggroll"])
    for env, row in by_env.items():
        if {1, 2} <= row.keys():
            notes.append(
                f"{env}: 2 host devices are {row[1] / row[2]:.3g}x as fast as 1 (two processes)."
            )
    return notes


NOTES: dict[str, Callable[[Sequence[dict[str, Any]]], list[str]]] = {"scaling": scaling_notes}
"""By kind: what follows from all its cases together."""


def sections(data: dict[str, Any]) -> list[Section]:
    """A section a kind, in the order of the cases."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for case in data["cases"]:
        kinds.setdefault(case["kind"], []).append(case)
    return [
        Section(
            TITLES.get(kind, kind.capitalize()),
            [row for case in cases for row in case_rows(case)],
            NOTES[kind](cases) if kind in NOTES else [],
        )
        for kind, cases in kinds.items()
    ]


def heading(data: dict[str, Any]) -> list[str]:
    """When, where and how, in lines."""
    hardware = data["provenance"].get("hardware", {})
    versions = data["provenance"].get("versions", {})
    load = data["load_before"]
    return [
        f"{data['command']}, {data['started']} to {data['ended']}",
        f"{hardware.get('usable_cores', '?')} cores of {hardware.get('processor', '?')}, device "
        f"{hardware.get('device_kind', '?')}, jax {versions.get('jax', '?')}, commit "
        f"{data['provenance'].get('commit')}",
        "load before the start " + (" ".join(f"{x:.2f}" for x in load) if load else "not told"),
    ]


def markdown(data: dict[str, Any]) -> str:
    """All sections as Markdown tables."""
    lines = ["# rlbench bench", "", *(f"- {line}" for line in heading(data))]
    for section in sections(data):
        lines += ["", f"## {section.title}", ""]
        for row in (HEADER, ("---",) * len(HEADER), *section.rows):
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
        lines += [line for note in section.notes for line in ("", note)]
    return "\n".join(lines) + "\n"


def show(data: dict[str, Any]) -> None:
    """Prints all sections."""
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    for line in heading(data):
        console.print(Text(line, style="dim"))
    for section in sections(data):
        table = Table(*HEADER, box=None, header_style="bold", title_justify="left")
        for column in table.columns[2:4]:
            column.justify = "right"
        for row in section.rows:
            # Text, not markup: what is shown comes from processes and files.
            table.add_row(*(Text(cell) for cell in row))
        console.print(Text(f"\n{section.title}", style="bold"))
        console.print(table)
        for note in section.notes:
            console.print(Text(note))
