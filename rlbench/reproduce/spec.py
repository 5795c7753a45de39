"""What a reproduction measures: sweeps/claims/NAME.toml. Imports no jax.

    about = "what it shows"
    seconds = { laptop = 40, small = 6 }   # of all cases, as measured on 2 cores
    [case.sine]                            # each is measured in a process of its own
    measure = "convergence"                # a module of `measures`, or a kind of `rlbench bench`
    shape = [6, 5]                         # the rest is what that is given
    [laptop]                               # over what every case is given, by scale
    samples = 1000000
    [laptop.sine]                          # over what one case is given
    samples = 2000000

or, of runs, in place of cases:

    sweep = { laptop = "short", paper = "paper_rl" }   # files of sweeps/
    seconds = { laptop = 3600 }   # of all cells, where the speed of some was never measured alone
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from rlbench.bench.cases import Case
from rlbench.errors import UsageError, nearest

PARTS = {
    "theory": ("convergence", "marginals", "linearisation", "update_rank", "intensity"),
    "cost": ("throughput", "population_scaling", "memory"),
    "rl": ("rl_curves", "rl_wallclock", "rank_sensitivity", "noise_reuse"),
}
"""By part, in the order of `reproduce all`."""
NAMES = tuple(name for names in PARTS.values() for name in names)
SCALES = ("laptop", "paper", "small")
"""`small` shows that everything works, and is what CI runs; nothing is quoted from it."""
TIMEOUT = 3600.0


@dataclass(frozen=True)
class Spec:
    """A reproduction at one scale.

    Attributes:
        name: of `NAMES`.
        scale: of `SCALES`.
        about: what it shows, in a line.
        cases: what is measured, each in a process; none if it is of runs.
        seconds: that all of it took on 2 cores; None where nobody measured it.
        sweep: name of the sweep of its runs; empty if it is of cases.
    """

    name: str
    scale: str
    about: str
    cases: tuple[Case, ...]
    seconds: float | None
    sweep: str

    @property
    def part(self) -> str:
        """Of `PARTS`."""
        return next(part for part, names in PARTS.items() if self.name in names)


def read_spec(name: str, scale: str) -> Spec | None:
    """The reproduction; None if it has nothing to run at this scale.

    Raises:
        UsageError: an unknown name or scale.
    """
    if name not in NAMES:
        raise UsageError(f"nothing to reproduce is called {name!r}; {nearest(name, NAMES)}")
    if scale not in SCALES:
        raise UsageError(f"--scale cannot be {scale!r}; {nearest(scale, SCALES)}")
    text = files("rlbench.sweeps.claims").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    sweep = data.get("sweep", {}).get(scale, "")
    if "sweep" in data and not sweep:
        return None
    # Where the paper's size is no other than ours, its table is left out.
    chosen = scale if scale in data else "laptop"
    table = data.get(chosen, {})
    cases = tuple(_case(key, row, table) for key, row in data.get("case", {}).items())
    seconds = data.get("seconds", {}).get(scale if sweep else chosen)
    return Spec(name, scale, data["about"], cases, seconds, sweep)


def _case(name: str, row: dict[str, Any], table: dict[str, Any]) -> Case:
    """The case's own parameters, the scale's, and the scale's for this case, the last one wins."""
    own = table.get(name, {})
    shared = {key: value for key, value in table.items() if not isinstance(value, dict)}
    params = {**row, **shared, **own}
    return Case(name, params.pop("measure"), params, quick=False, timeout=TIMEOUT)
