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

import itertools
from collections.abc import Iterator, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rlbench import registry
from rlbench.errors import UsageError, nearest
from rlbench.given import as_table, read_given
from rlbench.sweep.cells import Group, SweepFile
from rlbench.sweep.space import read_space

FLAGS = {
    "budget": "--budget",
    "budget_seconds": "--budget-seconds",
    "settings": "--settings",
    "eval_episodes": "--eval-episodes",
    "host_devices": "--host-devices",
    "device": "--device",
    "reduction": "--reduction",
    "max_memory": "--max-memory",
    "checkpoint_seconds": "--checkpoint-seconds",
}
"""Keys that become a flag of `rlbench run`."""
KEYS = (*FLAGS, "seeds", "set", "random")
TOP = ("about", "include", "defaults", "cell", "env", "algo")


def read_file(path: Path) -> SweepFile:
    """Reads a file, with what it includes.

    Raises:
        UsageError: missing, malformed, an unknown name, an empty grid.
    """
    data = _read(path, ())
    if not data["cell"]:
        raise UsageError(f"{path} has no [[cell]]")
    rows = enumerate(data["cell"])
    groups = tuple(group for i, row in rows for group in _groups(row, data, f"cell {i}"))
    return SweepFile(path.stem, str(data["about"]), groups)


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """A file with what it includes, as complete tables."""
    if path.resolve() in above:
        raise UsageError(f"sweep file {path} includes itself")
    given = read_given(path, "sweep file")
    for key in given:
        if key not in TOP:
            raise UsageError(f"unknown key {key!r} in {path}; {nearest(key, TOP)}")
    data: dict[str, Any] = {"about": "", "defaults": {}, "cell": [], "env": {}, "algo": {}}
    for name in _strings(given.get("include", []), f"include in {path}"):
        _add(data, _included(path.parent / name, name, (*above, path.resolve())))
    _add(data, _checked(given, path))
    return data


def _included(path: Path, name: str, above: tuple[Path, ...]) -> dict[str, Any]:
    """A file beside the one that includes it, or else a shipped one."""
    shipped = files("rlbench.sweeps").joinpath(name)
    if path.exists() or Path(name).name != name or not shipped.is_file():
        return _read(path, above)
    with as_file(shipped) as found:
        return _read(found, above)


def _checked(given: dict[str, Any], path: Path) -> dict[str, Any]:
    """The tables of one file, with their keys checked and their names resolved."""
    tables: list[tuple[str, Any]] = [("[defaults]", given.get("defaults", {}))]
    names: dict[str, dict[str, Any]] = {"env": {}, "algo": {}}
    for kind in names:
        for name, table in as_table(given.get(kind, {}), f"[{kind}] in {path}").items():
            found = registry.find_env(name).id if kind == "env" else registry.find_agent(name).name
            names[kind][found] = table
            tables.append((f"[{kind}.{name}]", table))
    cells = given.get("cell", [])
    if not isinstance(cells, list):
        raise UsageError(f"cell in {path} must be written [[cell]]")
    for what, table in [*tables, *((f"[[cell]] {i}", cell) for i, cell in enumerate(cells))]:
        known = (*KEYS, "env", "algo") if what.startswith("[[") else KEYS
        for key in as_table(table, f"{what} in {path}"):
            if key not in known:
                raise UsageError(f"unknown key {key!r} in {what} of {path}; {nearest(key, known)}")
        as_table(table.get("set", {}), f"set in {what} of {path}")
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


def _strings(value: Any, what: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(x, str) and x for x in values):
        if value == []:
            return []
        raise UsageError(f"{what} must be a name or a list of names, not {value!r}")
    return values


def _groups(row: dict[str, Any], data: dict[str, Any], what: str) -> Iterator[Group]:
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
        grid = _grid(options.get("set", {}), where)
        space = read_space(options["random"], where) if "random" in options else None
        if space and (both := grid.keys() & space.distributions.keys()):
            raise UsageError(f"{sorted(both)[0]!r} of {where} is both set and drawn at random")
        seeds = tuple(_seeds(options.get("seeds", 1), where))
        yield Group(entry.id, agent.name, seeds, tuple(flags), grid, space, where)


def _flag(key: str, value: Any, where: str) -> tuple[str, str]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"{key} of {where} must be a number or a word, not {value!r}")
    whole = isinstance(value, float) and value.is_integer()
    return FLAGS[key], str(int(value) if whole else value)


def _seeds(value: Any, where: str) -> Sequence[int]:
    seeds = range(value) if isinstance(value, int) and not isinstance(value, bool) else value
    whole = isinstance(seeds, range) or (
        isinstance(seeds, list) and all(isinstance(s, int) and s >= 0 for s in seeds)
    )
    if not whole or not len(seeds):
        raise UsageError(f"seeds of {where} must be their number or a list, not {value!r}")
    return list(seeds)


def _grid(given: Any, where: str) -> dict[str, list[Any]]:
    """By setting, its choices; a value that is no list is the only one."""
    table = as_table(given, f"set of {where}")
    choices = {name: value if isinstance(value, list) else [value] for name, value in table.items()}
    for name, values in choices.items():
        if not values:
            raise UsageError(f"setting {name!r} of {where} has an empty grid")
    return choices
