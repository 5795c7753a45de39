"""A sweep file: which runs, as the flags a person would type. Imports no jax.

    about = "what it is for"
    include = ["other.toml"]      # its tables first

    [defaults]                    # of every cell
    seeds = 5                     # 0 to 4; or a list of seeds
    budget = 1e6

    [[cell]]                      # every env with every algo, every seed, every choice of settings
    env = ["cartpole", "ant"]
    algo = ["eggroll", "open_es"]
    set = { rank = [1, 4] }       # a list is a grid; a setting that is a list stands in another one

    [cell.random]                 # or settings at random, other ones for every env and algo
    trials = 20
    seed = 0
    learning_rate = { log_uniform = [1e-4, 1e-1] }

    [env.ant]                     # overrides, by env and then by algo
    budget = 4e6

A later one of defaults, cell, env and algo wins, key by key; in `set`, setting by setting.
"""

import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbench import registry
from rlbench.errors import UsageError, nearest

MAX_BYTES = 1 << 20
MAX_CELLS = 1_000_000
FLAGS = {
    "budget": "--budget",
    "budget_seconds": "--budget-seconds",
    "settings": "--settings",
    "eval_episodes": "--eval-episodes",
    "host_devices": "--host-devices",
    "device": "--device",
    "reduction": "--reduction",
}
"""Keys that become a flag of `rlbench run`."""
KEYS = (*FLAGS, "seeds", "set", "random")
TOP = ("about", "include", "defaults", "cell", "env", "algo")
DISTRIBUTIONS = ("uniform", "log_uniform", "choice")


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        env: full id.
        algo: name.
        seed: of the run.
        flags: of `rlbench run`, all but --out, --suite and what says how to compute it.
    """

    env: str
    algo: str
    seed: int
    flags: tuple[str, ...]


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


def read_sweep(path: Path) -> Sweep:
    """Reads and expands a file.

    Raises:
        UsageError: missing, malformed, an unknown name, an empty grid, two equal cells.
    """
    data = _read(path, ())
    if not data["cell"]:
        raise UsageError(f"{path} has no [[cell]]")
    found = [cell for i, row in enumerate(data["cell"]) for cell in _expand(row, data, f"cell {i}")]
    if len(found) > MAX_CELLS:
        raise UsageError(f"{path} has {len(found):,} cells; at most {MAX_CELLS:,} are taken")
    seen: set[tuple[str, ...]] = set()
    for cell in found:
        if cell.flags in seen:
            raise UsageError(f"{path} has a cell twice: {' '.join(cell.flags)}")
        seen.add(cell.flags)
    return Sweep(path.stem, str(data["about"]), tuple(sorted(found, key=lambda cell: cell.seed)))


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """A file with what it includes, as complete tables."""
    if path.resolve() in above:
        raise UsageError(f"sweep file {path} includes itself")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"sweep file {path} is larger than 1 MiB")
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read sweep file {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"sweep file {path} is not valid TOML: {error}") from None
    for key in given:
        if key not in TOP:
            raise UsageError(f"unknown key {key!r} in {path}; {nearest(key, TOP)}")
    data: dict[str, Any] = {"about": "", "defaults": {}, "cell": [], "env": {}, "algo": {}}
    for name in _strings(given.get("include", []), f"include in {path}"):
        other = _read(path.parent / name, (*above, path.resolve()))
        _add(data, other)
    _add(data, _checked(given, path))
    return data


def _checked(given: dict[str, Any], path: Path) -> dict[str, Any]:
    """The tables of one file, with their keys checked and their names resolved."""
    tables: list[tuple[str, Any]] = [("[defaults]", given.get("defaults", {}))]
    names: dict[str, dict[str, Any]] = {"env": {}, "algo": {}}
    for kind in names:
        for name, table in _table(given.get(kind, {}), f"[{kind}] in {path}").items():
            found = registry.find_env(name).id if kind == "env" else registry.find_agent(name).name
            names[kind][found] = table
            tables.append((f"[{kind}.{name}]", table))
    cells = given.get("cell", [])
    if not isinstance(cells, list):
        raise UsageError(f"cell in {path} must be written [[cell]]")
    for what, table in [*tables, *((f"[[cell]] {i}", cell) for i, cell in enumerate(cells))]:
        known = (*KEYS, "env", "algo") if what.startswith("[[") else KEYS
        for key in _table(table, f"{what} in {path}"):
            if key not in known:
                raise UsageError(f"unknown key {key!r} in {what} of {path}; {nearest(key, known)}")
        _table(table.get("set", {}), f"set in {what} of {path}")
    return {**given, **names}


def _add(data: dict[str, Any], other: dict[str, Any]) -> None:
    data["about"] = other.get("about", data["about"])
    data["cell"] += other.get("cell", [])
    data["defaults"] = _merge(data["defaults"], other.get("defaults", {}))
    for kind in ("env", "algo"):
        for name, table in other.get(kind, {}).items():
            data[kind][name] = _merge(data[kind].get(name, {}), table)


def _merge(*tables: dict[str, Any]) -> dict[str, Any]:
    """Key by key, a later one over an earlier; `set` setting by setting."""
    merged: dict[str, Any] = {}
    for table in tables:
        settings = {**merged.get("set", {}), **table.get("set", {})}
        merged = {**merged, **table, **({"set": settings} if settings else {})}
    return merged


def _table(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{what} must be a table, not {value!r}")
    return value


def _strings(value: Any, what: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(x, str) and x for x in values):
        if value == []:
            return []
        raise UsageError(f"{what} must be a name or a list of names, not {value!r}")
    return values


def _expand(row: dict[str, Any], data: dict[str, Any], what: str) -> Iterator[Cell]:
    envs, algos = (_strings(row.get(kind, []), f"{kind} of {what}") for kind in ("env", "algo"))
    for kind, names in (("env", envs), ("algo", algos)):
        if not names:
            raise UsageError(f"{what} has no {kind}; give one, or a list")
    for env, algo in itertools.product(envs, algos):
        entry, agent = registry.find_env(env), registry.find_agent(algo)
        overrides = data["env"].get(entry.id, {}), data["algo"].get(agent.name, {})
        options = _merge(data["defaults"], row, *overrides)
        where = f"{what} ({entry.id}, {agent.name})"
        flags = [
            part for key in FLAGS if key in options for part in _flag(key, options[key], where)
        ]
        for settings in _settings(options, entry.id, agent.name, where):
            chosen = [part for item in settings.items() for part in ("--set", _assignment(*item))]
            for seed in _seeds(options.get("seeds", 1), where):
                named = ["--env", entry.id, "--algo", agent.name, "--seed", str(seed)]
                yield Cell(entry.id, agent.name, seed, (*named, *flags, *chosen))


def _flag(key: str, value: Any, where: str) -> tuple[str, str]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"{key} of {where} must be a number or a word, not {value!r}")
    whole = isinstance(value, float) and value.is_integer()
    return FLAGS[key], str(int(value) if whole else value)


def _assignment(name: str, value: Any) -> str:
    """NAME=VALUE, as TOML, which JSON is for these values."""
    return f"{name}={value if isinstance(value, str) else json.dumps(value)}"


def _seeds(value: Any, where: str) -> Sequence[int]:
    seeds = range(value) if isinstance(value, int) and not isinstance(value, bool) else value
    whole = isinstance(seeds, range) or (
        isinstance(seeds, list) and all(isinstance(s, int) and s >= 0 for s in seeds)
    )
    if not whole or not len(seeds):
        raise UsageError(f"seeds of {where} must be their number or a list, not {value!r}")
    return list(seeds)


def _settings(options: dict[str, Any], env: str, algo: str, where: str) -> Iterator[dict[str, Any]]:
    """Every choice of settings: the grid's product, once or for every trial."""
    grid = _table(options.get("set", {}), f"set of {where}")
    choices = {name: value if isinstance(value, list) else [value] for name, value in grid.items()}
    for name, values in choices.items():
        if not values:
            raise UsageError(f"setting {name!r} of {where} has an empty grid")
    drawn = list(_trials(options.get("random"), env, algo, where))
    for chosen in itertools.product(*choices.values()):
        fixed = dict(zip(choices, chosen, strict=True))
        for trial in drawn:
            if both := fixed.keys() & trial.keys():
                raise UsageError(f"{sorted(both)[0]!r} of {where} is both set and drawn at random")
            yield {**fixed, **trial}


def _trials(random: Any, env: str, algo: str, where: str) -> Iterator[dict[str, Any]]:
    """Settings drawn at random; a single empty choice where there are no distributions."""
    if random is None:
        yield {}
        return
    table = dict(_table(random, f"random of {where}"))
    trials, seed = table.pop("trials", None), table.pop("seed", 0)
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1 or not table:
        raise UsageError(f"random of {where} needs whole trials above 0, and distributions")
    words = hashlib.sha256(f"{env}\0{algo}".encode()).digest()
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial, *np.frombuffer(words, np.uint32).tolist()])
        yield {name: _draw(rng, given, f"{name} of {where}") for name, given in table.items()}


def _draw(rng: np.random.Generator, given: Any, what: str) -> Any:
    if not isinstance(given, dict) or len(given) != 1:
        raise UsageError(f"{what} must be one distribution, such as {{ uniform = [0, 1] }}")
    ((kind, values),) = given.items()
    if kind not in DISTRIBUTIONS:
        raise UsageError(f"unknown distribution {kind!r} of {what}; {nearest(kind, DISTRIBUTIONS)}")
    if not isinstance(values, list) or not values:
        raise UsageError(f"{kind} of {what} must be a list, not {values!r}")
    if kind == "choice":
        return values[int(rng.integers(len(values)))]
    numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in values)
    if len(values) != 2 or not numbers or not values[0] < values[1]:
        raise UsageError(f"{kind} of {what} must be [low, high], low below high, not {values!r}")
    if kind == "log_uniform" and values[0] <= 0:
        raise UsageError(f"log_uniform of {what} must be above 0, not {values!r}")
    if kind == "uniform":
        return float(rng.uniform(*values))
    return float(np.exp(rng.uniform(*np.log(values))))
