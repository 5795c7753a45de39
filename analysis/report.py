"""`rlbench report RUNS... --out DIR`: tables, figures and a page. Imports no jax.

Everything is made in memory first and then written, so that a mistake leaves an older report whole.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from rlbench import __version__
from rlbench.analysis import claims
from rlbench.analysis.cost_tables import all_tables
from rlbench.analysis.findings import Findings, find, parse_targets
from rlbench.analysis.formats import FIGURE_FORMATS, FORMATS
from rlbench.analysis.frame import matrices
from rlbench.analysis.notes import headline, notes
from rlbench.analysis.reproduced.section import Section, sections
from rlbench.analysis.runs import find_runs
from rlbench.analysis.statistics import LEVEL, RESAMPLES, SEED
from rlbench.errors import UsageError
from rlbench.files import clear_temporary, replace_file, writing
from rlbench.flags import flag, parse_flags
from rlbench.stages import Stages
from rlbench.store import check_writable

MARKER = "report.json"
"""What a folder must hold for a report to be replaced."""
SCHEMA = 1
Files = dict[str, bytes]


@dataclass(frozen=True)
class ReportOptions:
    """Compare runs: tables, figures and a page that opens without network."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, flag("RUNS", "required")] = ()
    """Run directories, or folders that hold some at any depth."""
    out: Annotated[str, flag("DIR", "required")] = ""
    """Folder for index.html, tables/ and figures/; a report that is there is replaced."""
    baseline: Annotated[str, flag("NAME", "default: every pair")] = ""
    """Algorithm to hold every other against."""
    target: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, flag("ENV=RETURN", "repeatable")
    ] = ()
    """Return to reach, instead of 0.9 of the way from random actions to the reference."""
    allow_mixed: Annotated[str, flag("hardware", "default: split")] = ""
    """Compare returns of runs on several kinds of hardware; times are marked, and not compared."""


def report_command(argv: Sequence[str], prog: str) -> int:
    """`report`: reads, computes, writes."""
    options = parse_flags(ReportOptions, argv, prog)
    if not options.runs:
        raise UsageError("say which runs: `rlbench report RUNS... --out DIR`")
    if not options.out:
        raise UsageError("say where to: `rlbench report RUNS... --out DIR`")
    out = Path(options.out)
    check_out(out)
    stages = Stages()
    with stages.shown():
        findings = gather(options, stages)
        stages.tell("drawing reproductions")
        reproduced, bad = sections(sorted(map(Path, options.runs)))
        files = make(findings, reproduced, options, out, stages)
        stages.tell("writing")
        write(files, out)
    for sentence in map(claims.in_words, findings.pairs[:12]):
        print(sentence)
    for note in notes(findings):
        print(f"note: {note}")
    for name, why in bad:
        print(f"note: the reproduction {name} is left out: {why}")
    print(f"{headline(findings)}: written to {out / 'index.html'}")
    return 0


def gather(options: ReportOptions, stages: Stages) -> Findings:
    """Reads the runs and computes all that is said of them."""
    targets = parse_targets(options.target)
    found = find_runs(options.runs, lambda done, of: stages.tell("reading", done, of, "runs"))
    stages.tell("comparing")
    mix = [options.allow_mixed] if options.allow_mixed else []
    return find(found, mix=mix, targets=targets, baseline=options.baseline)


def check_out(out: Path) -> None:
    """Refuses a folder that holds something else than a report.

    Raises:
        UsageError: says so.
    """
    check_writable(out, True, "")
    if out.is_dir():
        clear_temporary(out)
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise UsageError(f"{out} is not empty and holds no report; choose another --out")


def typed(options: ReportOptions) -> str:
    """The command without --out: the same for the same report."""
    words = ["rlbench", "report", *sorted(options.runs)]
    if options.baseline:
        words += ["--baseline", options.baseline]
    for target in sorted(options.target):
        words += ["--target", target]
    if options.allow_mixed:
        words += ["--allow-mixed", options.allow_mixed]
    return shlex.join(words)


def draw(findings: Findings, stages: Stages) -> tuple[Files, Mapping[str, str]]:
    """Figures in every format by file name, and by name why one is missing."""
    # matplotlib takes half a second to import: only where something is drawn
    from rlbench.analysis.style import images, styled
    from rlbench.analysis.suite_figures import FIGURES

    files: Files = {}
    missing: dict[str, str] = {}
    with styled():
        for i, (name, maker) in enumerate(FIGURES.items()):
            stages.tell("drawing", i, len(FIGURES), "figures")
            figure = maker(findings)
            if isinstance(figure, str):
                missing[name] = figure
                continue
            for kind, image in images(figure).items():
                files[f"figures/{name}.{kind}"] = image
    return files, missing


def make(
    findings: Findings,
    reproduced: Sequence[Section],
    options: ReportOptions,
    out: Path,
    stages: Stages,
) -> Files:
    """Every file of the report, by its path within it."""
    from rlbench.analysis import page

    tables = all_tables(findings)
    files = {
        f"tables/{table.name}.{kind}": to_text(table).encode()
        for table in tables
        for kind, to_text in FORMATS.items()
    }
    figures, missing = draw(findings, stages)
    stages.tell("making the page")
    svgs = {Path(name).stem: content for name, content in figures.items() if name.endswith(".svg")}
    html = page.build(findings, tables, svgs, missing, reproduced, out, typed(options))
    sentences = [f"- {claims.in_words(pair)}" for pair in findings.pairs]
    told = [f"- note: {note}" for note in notes(findings)]
    summary = "\n".join([f"# {headline(findings)}", "", *sentences, *told, ""])
    return {
        **files,
        **figures,
        "scores.json": _json(matrices(findings.comparison)),
        "summary.md": summary.encode(),
        "index.html": html.encode(),
        MARKER: _json(_facts(findings, reproduced, typed(options), missing)),
    }


def _facts(
    findings: Findings, reproduced: Sequence[Section], command: str, missing: Mapping[str, str]
) -> dict[str, Any]:
    """What the report was made of."""
    return {
        "schema": SCHEMA,
        "rlbench": __version__,
        "command": command,
        "level": LEVEL,
        "resamples": RESAMPLES,
        "seed": SEED,
        "runs": {run.name: run.digest for run in findings.found.runs},
        "unreadable": dict(findings.found.unreadable),
        "not_drawn": missing,
        "reproductions": {one["name"]: one["sha256"] for one in reproduced},
    }


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write(files: Files, out: Path) -> None:
    """Writes the files, the marker first, and removes what an older report had beyond them.

    Raises:
        UsageError: the disk refuses.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        replace_file(out / MARKER, files[MARKER], "report")
        for folder in ("tables", "figures"):
            (out / folder).mkdir(exist_ok=True)
            clear_temporary(out / folder)
            for old in (out / folder).iterdir():
                if f"{folder}/{old.name}" not in files and old.suffix[1:] in (
                    *FIGURE_FORMATS,
                    *FORMATS,
                ):
                    old.unlink()
        for name in sorted(files.keys() - {MARKER}):
            replace_file(out / name, files[name], "report")
