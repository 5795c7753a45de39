"""`rlbench reproduce`: measures what a claim needs, and writes figure, data and verdict.

Imports no jax.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from rlbench.bench.options import Line
from rlbench.errors import UsageError, nearest
from rlbench.files import clear_temporary, replace_file, writing
from rlbench.flags import flag, parse_flags
from rlbench.reproduce import plan, record
from rlbench.reproduce.spec import NAMES, SCALES, Spec, read_spec
from rlbench.store import check_writable

WORDS = ("all", "list", "table")
INTERRUPTED = 4
"""Exit status of a sweep that a signal ended."""


@dataclass(frozen=True)
class ReproduceOptions:
    """Measure what claims of the EGGROLL paper need; figure, data and verdict of each.

    What was measured before is not measured again; the same command goes on after any end.
    """

    what: Annotated[tuple[str, ...], tyro.conf.Positional, flag("NAME", "required")] = ()
    """Names of reproductions, or all; list shows them, table writes the page of what is there."""
    scale: Annotated[str, flag("laptop|paper|small", "default: laptop")] = "laptop"
    """How much is measured; small shows that everything works, and is not to be quoted."""
    out: Annotated[str, flag("DIR", "default: results")] = "results"
    """Directory for reproduce/NAME-SCALE, and for the sweeps of runs."""
    jobs: Annotated[str, flag("INT", "default: one a core")] = ""
    """Of the sweeps: cells at a time."""
    dry_run: Annotated[bool, flag("", "")] = False
    """Show what would be measured, in order, and how long it may take, and write nothing."""
    overwrite: Annotated[bool, flag("", "")] = False
    """Measure anew what was measured before."""
    as_is: Annotated[bool, flag("", "")] = False
    """Judge the runs of a sweep that are there, and run none."""
    docs: Annotated[str, flag("DIR", "default: docs")] = "docs"
    """Of table: where claims.md and its figures go."""


def reproduce_command(argv: Sequence[str], prog: str) -> int:
    """`reproduce`: plans, measures what is left, judges, draws."""
    options = parse_flags(ReproduceOptions, argv, prog)
    names = asked(options.what)
    out = Path(options.out)
    if options.what == ("table",):
        return write_table(out, options.scale, Path(options.docs))
    found = [read_spec(name, options.scale) for name in names]
    specs = [spec for spec in found if spec is not None]
    if options.what == ("list",) or options.dry_run:
        plan.show(specs, out)
        return 0
    if not specs:
        raise UsageError(f"{names[0]} has nothing to run at --scale {options.scale}")
    check_writable(out, True, "")
    command = shlex.join(["rlbench", "reproduce", *argv])
    ends = []
    for spec in specs:
        ends.append(reproduce(spec, out, options, command))
        if ends[-1] == INTERRUPTED:
            break
    return max(ends)


def asked(what: Sequence[str]) -> tuple[str, ...]:
    """The names, each once and in the catalogue's order.

    Raises:
        UsageError: none, an unknown one, or a word that stands alone beside others.
    """
    if not what:
        raise UsageError(f"say what to reproduce: {', '.join(NAMES)}; or all, list, table")
    for name in what:
        if name not in (*NAMES, *WORDS):
            offer = nearest(name, (*NAMES, *WORDS))
            raise UsageError(f"nothing to reproduce is called {name!r}; {offer}")
        if name in WORDS and len(what) > 1:
            raise UsageError(f"{name} stands alone; leave out the rest")
    return NAMES if what[0] in WORDS else tuple(name for name in NAMES if name in what)


def reproduce(spec: Spec, out: Path, options: ReproduceOptions, command: str) -> int:
    """One of them: measured, judged, drawn; the exit status."""
    from rlbench.analysis.reproduced import view as views

    folder = record.folder_of(out, spec)
    line = Line()
    end = 0
    if spec.sweep and not options.as_is:
        end = plan.run_sweep(spec, out, options.jobs)
    if end == INTERRUPTED:
        return end
    with line.shown():
        data = record.measure(spec, folder, command, options.overwrite, line.tell)
    one = views.view(data, out)
    write(folder, views.files(one))
    for finding in one.findings:
        print(f"{finding.verdict}: {finding.claim}\n    {finding.measured}")
    failed = views.unmeasured(one)
    for told in failed:
        print(f"not measured: {told}")
    print(f"{spec.name}: written to {folder / 'verdict.md'}, and the figure beside it")
    return 3 if failed else end


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Writes files whole or not at all.

    Raises:
        UsageError: the disk refuses.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        clear_temporary(folder)
        for name, content in files.items():
            replace_file(folder / name, content, "figure")


def write_table(out: Path, scale: str, docs: Path) -> int:
    """claims.md of what is recorded at a scale, with its figures."""
    from rlbench.analysis.reproduced import table
    from rlbench.analysis.reproduced import view as views

    if scale not in SCALES:
        raise UsageError(f"--scale cannot be {scale!r}; {nearest(scale, SCALES)}")
    found = []
    for name in NAMES:
        data = record.read(out / "reproduce" / f"{name}-{scale}")
        if data:
            found.append(views.view(data, out))
    if not found:
        raise UsageError(f"no reproduction at --scale {scale} is in {out / 'reproduce'}")
    figures = {f"{one.name}.png": views.drawn(one, "png")["png"] for one in found}
    write(docs / "claims", figures)
    write(docs, {"claims.md": table.page(found).encode()})
    print(f"{len(found)} reproductions: written to {docs / 'claims.md'}")
    return 0
