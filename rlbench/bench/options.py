"""The flags of `rlbench bench`, and what they do. Imports no jax."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.status import Status

from rlbench.bench import driver, report
from rlbench.bench.cases import cases, select
from rlbench.display import duration
from rlbench.errors import UsageError
from rlbench.files import replace_file, writing
from rlbench.flags import parse_flags


def _flag(value: str, hint: str) -> Any:
    return tyro.conf.arg(metavar=value or None, help_behavior_hint=f"({hint})" if hint else "")


@dataclass(frozen=True)
class BenchOptions:
    """Measure speed, start-up and memory, as ratios side by side."""

    quick: Annotated[bool, _flag("", "")] = False
    """Tiny sizes, under 3 minutes: shows that everything works; no figures to quote."""
    large: Annotated[bool, _flag("", "")] = False
    """Also sizes that need much memory or time."""
    only: Annotated[str, _flag("PREFIX", "default: all")] = ""
    """Only the cases whose name begins so, such as peers or scaling/devices."""
    out: Annotated[str, _flag("DIR", "default: results/bench")] = "results/bench"
    """Directory for bench.json and bench.md, which are replaced."""


def parse(argv: Sequence[str], prog: str) -> BenchOptions:
    """The flags.

    Raises:
        UsageError: an unknown flag, or two that exclude each other.
    """
    options = parse_flags(BenchOptions, argv, prog)
    if options.quick and options.large:
        raise UsageError("--quick and --large exclude each other; leave one out")
    return options


class Line:
    """Progress on stderr: one live line on a terminal, a line a case elsewhere."""

    def __init__(self) -> None:
        """Finds out which."""
        self._console = Console(stderr=True, highlight=False)
        self._status: Status | None = None
        if self._console.is_terminal:
            self._status = self._console.status("starting")

    def shown(self) -> AbstractContextManager[object]:
        """While it is to be seen."""
        return self._status or nullcontext()

    def tell(self, name: str, done: int, of: int, left: float | None) -> None:
        """Before every case."""
        eta = "" if left is None else f", ETA {duration(left)}"
        text = f"{done + 1}/{of} {name}{eta}"
        if self._status:
            self._status.update(text)
        else:
            self._console.print(text, markup=False)


def bench_command(argv: Sequence[str], prog: str) -> int:
    """`bench`: measures, writes, shows."""
    options = parse(argv, prog)
    chosen = select(cases(options.quick, options.large), options.only)
    out = Path(options.out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    start, line = time.monotonic(), Line()
    path = out / "bench.json"
    with line.shown():
        data = driver.bench(chosen, path, argv, options.quick, line.tell)
    with writing(out):
        replace_file(out / "bench.md", report.markdown(data).encode(), "report")
    report.show(data)
    failed = sum("failed" in case for case in data["cases"])
    took = f"{len(chosen)} cases, {failed} failed, {duration(time.monotonic() - start)}"
    print(f"\n{took}; written to {path} and bench.md beside it")
    return 3 if failed else 0
