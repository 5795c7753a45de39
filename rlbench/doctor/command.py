"""`rlbench doctor`: every check, a list of what they found, and a summary. Imports no jax."""

import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rlbench.display import printable
from rlbench.doctor import disk, hardware, software
from rlbench.doctor.devices import ask, devices
from rlbench.doctor.facts import Here
from rlbench.doctor.finding import Finding
from rlbench.doctor.known import KNOWN
from rlbench.doctor.look import look
from rlbench.errors import PROBLEM, UsageError
from rlbench.flags import flag, parse_flags

CHECKS: tuple[Callable[[Here], list[Finding]], ...] = (
    software.python,
    software.rlbench,
    software.distributions,
    *KNOWN,
    software.optional,
    hardware.cores,
    hardware.load,
    hardware.memory,
    disk.out,
    disk.cache,
)
"""All but jax's devices. Another is one more function."""
INDENT = " " * 9


@dataclass(frozen=True)
class DoctorOptions:
    """Look for what is known to go wrong on this machine; exit status 5 if there is a problem.

    Versions, environment variables, cores, memory, disk; at the end jax is started and computes
    something known. Nothing is installed, changed or left behind.
    """

    out: Annotated[str, flag("DIR", "default: results")] = "results"
    """Directory that run directories are to go to."""


def doctor_command(argv: Sequence[str], prog: str) -> int:
    """`doctor`: checks, lists, sums up."""
    options = parse_flags(DoctorOptions, argv, prog)
    if not options.out:
        raise UsageError("--out must name a directory, such as results")
    here = look(options.out)
    found = [one for check in CHECKS for one in check(here)]
    show(found)  # before jax, which may take long to tell that it does not start
    last = devices(ask(), here.python, here.environ)
    show(last)
    return sum_up([*found, *last])


def show(found: Iterable[Finding]) -> None:
    """Prints findings, with what to do below each; a command is a line of its own, to be copied."""
    width = max(40, shutil.get_terminal_size((80, 24)).columns)
    for one in found:
        lines = _wrap(f"{one.level:8} {one.name}: {one.found}", INDENT, width)
        if one.remedy:
            lines += _wrap(f"{INDENT}> {one.remedy}", INDENT + "  ", width)
        if one.command:
            lines.append(f"{INDENT}$ {without_home(one.command)}")
        for line in lines:
            _print(line)


def _print(line: str) -> None:
    try:
        print(printable(line), flush=True)
    except BrokenPipeError:  # `| grep -q` has read enough; the exit status is still to come
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wrap(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        without_home(text),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def without_home(text: str) -> str:
    """The text with ~ for the home directory, whose name is often the user's."""
    home = os.environ.get("HOME") or ""
    return text.replace(home, "~") if len(Path(home).parts) > 1 else text


def sum_up(found: Iterable[Finding]) -> int:
    """Prints how many there are of each; the exit status."""
    levels = Counter(one.level for one in found)
    _print(f"{_count(levels['note'], 'note')}, {_count(levels['problem'], 'problem')}")
    return PROBLEM if levels["problem"] else 0


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'s' if number > 1 else ''}"
