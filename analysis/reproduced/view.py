"""A recorded reproduction as findings, figure and text. Imports no jax."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rlbench.analysis.formats import FIGURE_FORMATS, cell
from rlbench.analysis.reproduced.claim import Case, Data, Finding, Reproduction, Row
from rlbench.analysis.runs import find_runs
from rlbench.analysis.tasks import describe_hardware
from rlbench.display import printable
from rlbench.errors import UsageError
from rlbench.reproduce.record import read
from rlbench.reproduce.spec import NAMES, SCALES, read_spec


@dataclass(frozen=True)
class View:
    """What is said of one record.

    Attributes:
        name: of the reproduction.
        record: reproduction.json.
        reproduction: its rules.
        data: what they look at.
        findings: what follows.
    """

    name: str
    record: dict[str, Any]
    reproduction: Reproduction
    data: Data
    findings: Sequence[Finding]

    @property
    def folder(self) -> str:
        """The record's, below `reproduce/`."""
        return f"{self.name}-{self.data.scale}"

    @property
    def machine(self) -> str:
        """Processor or device, and cores, in words; of runs, of every kind of machine they had."""
        if self.record["sweep"]:
            return "; ".join(sorted({describe_hardware(run) for run in self.data.runs}))
        found = self.data.hardware
        kind = found.get("device_kind") if found.get("platform") != "cpu" else found["processor"]
        return f"{kind}, {found.get('usable_cores')} cores"

    @property
    def date(self) -> str:
        """UTC day on which the last of it was measured."""
        ends = [str(run.status.get("ended") or "") for run in self.data.runs]
        return max(ends, default=str(self.record["ended"]))[:10]

    @property
    def command(self) -> str:
        """That makes it again."""
        return f"rlbench reproduce {self.name} --scale {self.data.scale}"

    @property
    def provenance(self) -> list[str]:
        """Where the numbers come from: machine, versions, commit, what else was running."""
        if self.record["sweep"]:
            runs = self.data.runs
            told = [
                f"{len(runs)} runs of the sweep {self.record['sweep']}, the last on {self.date}"
            ]
            return [*told, f"on {self.machine}", *sorted({_code(run.provenance) for run in runs})]
        found, load = self.record["provenance"], self.record.get("load_before")
        told = [f"{self.date}, on {self.machine}", _code(found)]
        if load:
            cores = found["hardware"]["usable_cores"]
            told.append(f"load average before it began: {load[0]:.2f} of {cores} cores")
        return told


def _code(provenance: Mapping[str, Any]) -> str:
    """Commit and versions."""
    dirty = " with uncommitted changes" if provenance.get("dirty") else ""
    commit = f"commit {str(provenance.get('commit') or 'not recorded')[:10]}{dirty}"
    return ", ".join([commit, *(f"{k} {v}" for k, v in provenance.get("versions", {}).items())])


def module(name: str) -> Reproduction:
    """The rules of a reproduction."""
    found: Reproduction = import_module(f"rlbench.analysis.reproduced.{name}").REPRODUCTION
    return found


def view(record: dict[str, Any], root: Path) -> View:
    """What follows from a record.

    Args:
        record: reproduction.json, checked.
        root: the folder that holds `reproduce/` and the sweeps.

    Raises:
        UsageError: it is not as a reproduction writes it, or its runs are not there.
    """
    with as_expected(record):
        name, hardware = str(record["name"]), record["provenance"]["hardware"]
        # Both become paths: a record may be a stranger's.
        spec = read_spec(name, str(record["scale"]))
        if record["sweep"] != (spec.sweep if spec else ""):
            raise ValueError(f"its runs are not of a sweep {record['sweep']!r}")
        reproduction = module(name)
        cases = {
            row["name"]: Case(row["name"], row["params"], row["samples"], row["values"])
            for row in record["cases"]
            if "samples" in row
        }
        runs = find_runs([root / record["sweep"]]).runs if record["sweep"] else ()
        data = Data(str(record["scale"]), cases, runs, hardware)
        return View(name, record, reproduction, data, tuple(reproduction.judge(data)))


@contextmanager
def as_expected(record: dict[str, Any]) -> Iterator[None]:
    """Tells in a sentence what its rules, its figure or its text cannot make anything of."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise UsageError(
            f"the record of {printable(str(record.get('name')))} is not as expected: {error!r}"
        ) from None


def find_views(paths: Sequence[Path]) -> tuple[list[View], list[tuple[str, str]]]:
    """What is recorded in these folders, as `rlbench reproduce --out` leaves it.

    Returns:
        In the catalogue's order, and (folder, reason) of records that cannot be shown.
    """
    found, bad = [], []
    for root in paths:
        folders = [root / "reproduce" / f"{name}-{scale}" for name in NAMES for scale in SCALES]
        for folder in folders:
            try:
                data = read(folder)
                if data is not None:
                    found.append(view(data, root))
            except UsageError as error:
                bad.append((folder.name, str(error)))
    return found, bad


def unmeasured(one: View) -> list[str]:
    """Cases that failed or could not be measured, with the reason."""
    rows = [row for row in one.record["cases"] if "samples" not in row]
    # Of a process that failed, the last line says it.
    why = [str(row.get("skipped") or row.get("failed")).splitlines()[-1] for row in rows]
    return [printable(f"{row['name']}: {told}") for row, told in zip(rows, why, strict=True)]


def to_csv(rows: Sequence[Row]) -> str:
    """The data behind a figure, all digits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows([cell(value) for value in row.values()] for row in rows)
    return out.getvalue()


def text(one: View) -> str:
    """Everything that is said of it, as Markdown below a heading of the second level."""
    with as_expected(one.record):
        return _text(one)


def _text(one: View) -> str:
    lines = [f"## {one.name}", "", f"{one.reproduction.title}.", ""]
    for finding in one.findings:
        lines += [
            f"- **{finding.verdict}**: {finding.claim} ({finding.where})",
            f"    - Measured: {finding.measured}",
            f"    - Rule: {finding.rule}",
        ]
    lines += [""]
    if one.reproduction.chosen:
        lines += ["What the paper does not say, and we chose:", ""]
        lines += [*(f"- {sentence}" for sentence in one.reproduction.chosen), ""]
    if one.reproduction.limits and one.data.scale != "paper":
        lines += [f"What this scale cannot show: {one.reproduction.limits}", ""]
    lines += [f"Not measured: {told}" for told in unmeasured(one)]
    lines += [f"`{one.command}`; {'; '.join(one.provenance)}.", ""]
    return "\n".join(lines)


def drawn(one: View, *kinds: str) -> dict[str, bytes]:
    """The figure, by format."""
    from rlbench.analysis.style import images, styled

    with styled(), as_expected(one.record):
        return images(one.reproduction.draw(one.data), kinds)


def files(one: View) -> dict[str, bytes]:
    """Figure, data and verdict, by file name."""
    found = {f"{one.name}.{kind}": content for kind, content in drawn(one, *FIGURE_FORMATS).items()}
    with as_expected(one.record):
        found["data.csv"] = to_csv(one.reproduction.rows(one.data)).encode()
    found["verdict.md"] = text(one).encode()
    return found
