"""What a check says, and how it reads a table. Imports no jax."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from os import walk
from pathlib import Path
from typing import Any

from rlbench import seal
from rlbench.files import parse_json

UNCOMMITTED = "its code is not a commit: rlbench was installed, or files were changed"


@dataclass
class Findings:
    """Of one run directory, sweep or reproduction.

    Attributes:
        problems: what is not as it was written, or cannot be; in sentences.
        notes: what a reader should know and is no fault.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def unless(self, holds: bool, problem: str) -> None:
        """A problem, unless something holds."""
        if not holds:
            self.problems.append(problem)


def table(name: str, content: bytes | None, found: Findings) -> dict[str, Any] | None:
    """A file's table, whatever its hash says; None if there is none, which is told."""
    if content is None:
        return None
    try:
        data = parse_json(content)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        found.problems.append(f"{name} is no JSON table")
        return None
    if flaw := seal.flaw(data):
        found.problems.append(f"{name} is not what was written: {flaw}")
    return data


def folders_with(name: str, root: Path) -> Iterator[Path]:
    """Every folder below, or at, `root` that holds such a file; links are not followed."""
    if (root / name).is_file():
        yield root
    for folder, below, _ in walk(root):
        below[:] = sorted(n for n in below if not n.startswith("."))
        yield from (p for n in below if ((p := Path(folder) / n) / name).is_file())
