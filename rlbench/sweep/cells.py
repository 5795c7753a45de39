"""A sweep's runs, as the flags a person would type. Imports no jax."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlbench.errors import UsageError
from rlbench.sweep.space import Space

MAX_CELLS = 1_000_000
Redrawn = Mapping[tuple[str, str, int], int]
"""By env, algo and trial: how often its settings were drawn and thrown away."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        env: full id.
        algo: name.
        seed: of the run.
        flags: of `rlbench run`, all but --out, --suite and what says how to compute it.
        trial: of a search, from 0; None for settings that are not searched for.
    """

    env: str
    algo: str
    seed: int
    flags: tuple[str, ...]
    trial: int | None = None


@dataclass(frozen=True)
class Group:
    """What a [[cell]] says of one env and one algo.

    Attributes:
        env: full id.
        algo: name.
        seeds: of the runs.
        flags: of `rlbench run`, settings, seed and names apart.
        grid: by setting, its choices.
        space: of the settings that are searched for; None if none are.
        where: how a message calls it.
    """

    env: str
    algo: str
    seeds: tuple[int, ...]
    flags: tuple[str, ...]
    grid: Mapping[str, Sequence[Any]]
    space: Space | None
    where: str

    def cell(self, settings: Mapping[str, Any], seed: int, trial: int | None = None) -> Cell:
        """The run with these settings."""
        chosen = [part for item in settings.items() for part in ("--set", _assignment(*item))]
        named = ["--env", self.env, "--algo", self.algo, "--seed", str(seed)]
        return Cell(self.env, self.algo, seed, (*named, *self.flags, *chosen), trial)

    def cells(self, redrawn: Redrawn) -> Iterator[Cell]:
        """Every choice of settings, the grid's product, once or for every trial; every seed."""
        trials = range(self.space.trials) if self.space else [None]
        for values in itertools.product(*self.grid.values()):
            fixed = dict(zip(self.grid, values, strict=True))
            for trial in trials:
                drawn: dict[str, Any] = {}
                if self.space and trial is not None:
                    again = redrawn.get((self.env, self.algo, trial), 0)
                    drawn = self.space.draw(self.env, self.algo, trial, again)
                yield from (self.cell({**fixed, **drawn}, seed, trial) for seed in self.seeds)


@dataclass(frozen=True)
class SweepFile:
    """What a file says.

    Attributes:
        name: the file's, without its ending.
        about: what it is for.
        groups: every [[cell]] with every env and algo, in the file's order.
    """

    name: str
    about: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Sweep:
    """A sweep file, expanded.

    Attributes:
        name: the file's, without its ending: the suite of its runs.
        about: what it is for.
        cells: in the file's order, seeds outermost, so that what is done at any time is balanced.
    """

    name: str
    about: str
    cells: tuple[Cell, ...]


def expand(file: SweepFile, redrawn: Redrawn | None = None) -> Sweep:
    """All cells of a file.

    Raises:
        UsageError: two of them are equal, or there are too many.
    """
    found = [cell for group in file.groups for cell in group.cells(redrawn or {})]
    if len(found) > MAX_CELLS:
        raise UsageError(f"{file.name} has {len(found):,} cells; at most {MAX_CELLS:,} are taken")
    seen: set[tuple[str, ...]] = set()
    for cell in found:
        if cell.flags in seen:
            raise UsageError(f"{file.name} has a cell twice: {' '.join(cell.flags)}")
        seen.add(cell.flags)
    return Sweep(file.name, file.about, tuple(sorted(found, key=lambda cell: cell.seed)))


def _assignment(name: str, value: Any) -> str:
    """NAME=VALUE, as TOML, which JSON is for these values."""
    return f"{name}={value if isinstance(value, str) else json.dumps(value)}"
