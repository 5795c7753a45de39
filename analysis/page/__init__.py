"""The report's page: one file that opens from disk, without network. Imports no jax.

Whatever comes from a run directory is data: Jinja escapes it, JSON in the page cannot end its
script, and the Content-Security-Policy lets the page's own scripts run, by their hashes, and
nothing else.
"""

import base64
import hashlib
import json
import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import plotly.offline
from markupsafe import Markup

from rlbench import __version__
from rlbench.analysis import claims, scores
from rlbench.analysis.curves import AXES
from rlbench.analysis.findings import Findings
from rlbench.analysis.notes import headline, notes
from rlbench.analysis.runs import Run
from rlbench.analysis.style import looks
from rlbench.analysis.tables import Table
from rlbench.analysis.tasks import Entry, Task, describe_hardware
from rlbench.bounds import is_number
from rlbench.display import printable, score

SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "<": "triangle-left",
    ">": "triangle-right",
    "*": "star",
}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
FILMS = (".gif", ".mp4", ".html")
DIGITS = 6

CAPTIONS = {
    "aggregates": "Aggregates of normalised scores",
    "iqm_curves": "IQM against the budget",
    "profiles": "Performance profiles",
    "improvement": "Probability of improvement",
    "wall_clock": "Training time",
    "return_cost": "Return against cost",
    "memory_population": "Memory against population",
}
"""Figures that stand in the page, in order; learning curves are drawn by the page itself."""


def _rounded(values: Iterable[float]) -> list[float | None]:
    return [float(f"{x:.{DIGITS}g}") if math.isfinite(x) else None for x in map(float, values)]


def _curves(findings: Findings, task: Task, entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"label": entry.label, "seeds": []}
    for axis in AXES:
        one = findings.bands.get((task.label, entry.label, axis))
        if one is not None:
            columns = ("x", "mean", "low", "high")
            found[axis] = {name: _rounded(getattr(one, name)) for name in columns}
            found[axis]["runs"] = one.runs.tolist()
    for run in entry.runs:
        curve = {name: _rounded(getattr(run.curve, name)) for name in (*AXES, "returns")}
        found["seeds"].append({"seed": run.seed, "status": run.state, **curve})
    return found


def chart_data(findings: Findings) -> dict[str, Any]:
    """What the page's own script draws: mean curves and every seed's, a chart a task."""
    labels = findings.comparison.labels
    style = {
        label: {
            "colour": look.colour,
            "symbol": SYMBOLS[look.marker],
            "dash": DASHES[i % len(DASHES)],
        }
        for i, (label, look) in enumerate(looks(labels).items())
    }
    charts = [
        {
            "title": task.label,
            "about": task.about,
            "reference": task.scale.reference if task.scale else None,
            "timed": not task.mixed_hardware,
            "entries": [_curves(findings, task, entry) for entry in task.entries.values()],
        }
        for task in findings.comparison.tasks
    ]
    return {"style": style, "charts": charts}


def embed(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def link(path: Path, out: Path) -> str:
    """A relative URL from the page to a file."""
    return quote(Path(os.path.relpath(path.resolve(), out.resolve())).as_posix())


def command(run: Run) -> str:
    """What was typed for this run."""
    argv = run.provenance.get("argv")
    if not isinstance(argv, list) or not argv:
        return "not recorded"
    words = [printable(str(word)) for word in argv]
    start = {"run.py": "python -m rlbench.run", "__main__.py": "python -m rlbench"}
    return " ".join([start.get(words[0], shlex.quote(words[0])), shlex.join(words[1:])]).strip()


def _films(run: Run, out: Path) -> list[dict[str, str]]:
    folder = run.path / "render"
    if not folder.is_dir() or folder.is_symlink():
        return []
    found = sorted(file for file in folder.iterdir() if file.suffix in FILMS and file.is_file())
    return [{"name": file.suffix[1:], "url": link(file, out)} for file in found]


def _run(run: Run, out: Path) -> dict[str, Any]:
    value = scores.score(run)
    return {
        "name": run.name,
        "url": link(run.path, out) + "/",
        "seed": run.seed,
        "status": run.state,
        "reason": str(run.status.get("reason", "")),
        "score": "-" if math.isnan(value) else score(value),
        "episodes": run.final_episodes,
        "std": "" if math.isnan(run.final_std) else score(run.final_std),
        "started": str(run.status.get("started", "")),
        "command": command(run),
        "films": _films(run, out),
    }


def _versions(runs: Iterable[Run]) -> list[str]:
    found = set()
    for run in runs:
        versions = run.provenance.get("versions")
        told = [f"{k} {v}" for k, v in versions.items()] if isinstance(versions, dict) else []
        commit = str(run.provenance.get("commit") or "not recorded")[:10]
        dirty = " with uncommitted changes" if run.provenance.get("dirty") else ""
        found.add(", ".join([*told, f"commit {commit}{dirty}"]))
    return sorted(found)


def _cells(findings: Findings, out: Path) -> list[dict[str, Any]]:
    return [
        {
            "id": f"cell-{i}-{j}",
            "task": task.label,
            "about": task.about,
            "label": entry.label,
            "source": str(entry.runs[0].config.get("settings_source", "")),
            "settings": json.dumps(entry.runs[0].config.get("settings", {}), sort_keys=True),
            "hardware": sorted({describe_hardware(run) for run in entry.runs}),
            "versions": _versions(entry.runs),
            "runs": [_run(run, out) for run in entry.runs],
        }
        for i, task in enumerate(findings.comparison.tasks)
        for j, entry in enumerate(task.entries.values())
    ]


def _sort_key(value: Any) -> str:
    return repr(float(value)) if is_number(value) else ""


def _table(table: Table, ids: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        # A row is of one entry, or of a pair, whose names then lead to the runs of each.
        own = ids.get((row.task, row.label), "")
        sides = {title: ids.get((row.task, label), "") for title, label in row.sides.items()}
        rows.append(
            [
                {
                    "text": printable(column.text(row.values)),
                    "key": _sort_key(row.values.get(column.key)) if column.key else "",
                    "number": bool(column.key),
                    "target": sides.get(column.title, own) or "runs",
                }
                for column in table.columns
            ]
        )
    heads = [{"title": c.title, "number": bool(c.key)} for c in table.columns]
    return {
        "name": table.name,
        "title": table.title,
        "note": table.note,
        "heads": heads,
        "rows": rows,
    }


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _figures(svgs: Mapping[str, bytes], missing: Mapping[str, str]) -> list[dict[str, str]]:
    shown = []
    for name, caption in CAPTIONS.items():
        image = base64.b64encode(svgs[name]).decode() if name in svgs else ""
        why = missing.get(name, "")
        shown.append({"name": name, "caption": caption, "image": image, "why": why})
    return shown


def _references(findings: Findings) -> list[dict[str, str]]:
    scales = {task.env: task.scale for task in findings.comparison.tasks if task.scale}
    return [
        {
            "env": env,
            "random": score(scale.random),
            "reference": score(scale.reference),
            "source": scale.source,
        }
        for env, scale in scales.items()
    ]


def build(
    findings: Findings,
    tables: Iterable[Table],
    svgs: Mapping[str, bytes],
    missing: Mapping[str, str],
    reproductions: Sequence[Mapping[str, Any]],
    out: Path,
    made_by: str,
) -> str:
    """The page.

    Args:
        findings: all that was computed.
        tables: to show.
        svgs: figures by name.
        missing: by name, why a figure is not there.
        reproductions: of claims, as `reproduced.section` has them.
        out: the folder that will hold the page, for links to runs.
        made_by: the command that made the report.
    """
    source = files(__package__)
    script, style, page = (
        source.joinpath(name).read_text(encoding="utf-8")
        for name in ("page.js", "page.css", "page.html")
    )
    # autoescape is what stands between a run directory from a stranger and its reader
    environment = jinja2.Environment(
        autoescape=True,
        finalize=lambda x: printable(x) if isinstance(x, str) and not isinstance(x, Markup) else x,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cells = _cells(findings, out)
    ids = {(cell["task"], cell["label"]): cell["id"] for cell in cells}
    plotly_js, data = plotly.offline.get_plotlyjs(), embed(chart_data(findings))
    return environment.from_string(page).render(
        hashes=[_hash(plotly_js), _hash(script)],
        plotly=Markup(plotly_js),
        script=Markup(script),
        style=Markup(style),
        data=Markup(data),
        headline=headline(findings),
        sentences=[claims.in_words(pair) for pair in findings.pairs],
        notes=notes(findings),
        charts=[{"title": t.label, "about": t.about} for t in findings.comparison.tasks],
        tables=[_table(table, ids) for table in tables],
        figures=_figures(svgs, missing),
        reproductions=reproductions,
        cells=cells,
        left_out=[(run.name, why) for run, why in findings.comparison.left_out],
        unreadable=findings.found.unreadable,
        references=_references(findings),
        rules=[scores.RULE, claims.RULE],
        made_by=made_by,
        version=__version__,
    )
