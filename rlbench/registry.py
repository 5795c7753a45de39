"""Names of environments and agents, from tables that are read without importing what they name.

`envs/envs.toml` and `agents/agents.toml` are the built-in tables, `rlbench.plugins` finds those of
others; only the chosen entry's module is imported, when it is made.
"""

import importlib
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from rlbench import plugins
from rlbench.errors import UsageError, nearest
from rlbench.plugins import Plugin

BRIDGED = "evosax/"
"""Prefix of the names of evosax's strategies."""
PLUGIN_BUDGET = 1_000_000
PLUGIN_LANES = 64
PLUGIN_DEVICES = 2
"""Of an environment that does not say otherwise by its attributes `budget` and `block_lanes`."""


@dataclass(frozen=True)
class EnvEntry:
    """One environment of the table, on one backend.

    Attributes:
        base: the id without its backend, e.g. `brax/ant`.
        alias: the short name.
        backend: the chosen physics backend; empty where the suite has none.
        backends: those that work; the first is the default.
        max_steps: episode length, in env steps.
        budget: default budget in env steps, sized for minutes on a laptop.
        block_lanes: episodes stepped together on a CPU.
        host_devices: CPU devices that one process splits the work over.
        only_accelerator: backends that are refused on a CPU, where they are too slow to be of use.
        reference: a good policy's return, or None.
        reference_source: where the reference is from.
        plugin: whose it is, if not ours; `max_steps` is then unknown (0) until it is loaded.
    """

    base: str
    alias: str
    backend: str
    backends: tuple[str, ...]
    max_steps: int
    budget: int
    block_lanes: int
    host_devices: int
    only_accelerator: tuple[str, ...] = ()
    reference: float | None = None
    reference_source: str = ""
    plugin: Plugin | None = None

    @property
    def id(self) -> str:
        """The full id that is recorded, e.g. `brax/ant@spring`."""
        return f"{self.base}@{self.backend}" if self.backend else self.base

    @property
    def suite(self) -> str:
        """The environment library."""
        return self.base.partition("/")[0]

    @property
    def name(self) -> str:
        """The library's own name."""
        return self.base.partition("/")[2]


@dataclass(frozen=True)
class AgentEntry:
    """One agent: where it is, and which sections of the settings files are its own."""

    name: str
    make: str
    about: str
    source: str
    settings: tuple[str, ...]
    plugin: Plugin | None = None


@cache
def read_table(package: str, name: str) -> dict[str, Any]:
    """A TOML data file inside the package."""
    return tomllib.loads(files(package).joinpath(name).read_text(encoding="utf-8"))


@cache
def env_entries() -> tuple[EnvEntry, ...]:
    """Every environment that works, on its default backend, in the table's order."""
    table = read_table("rlbench.envs", "envs.toml")
    entries = []
    for row in table["env"]:
        backends = tuple(row.get("backends", ("",)))
        values = table["suite"][row["id"].partition("/")[0]]["defaults"] | row
        entries.append(
            EnvEntry(
                base=row["id"],
                alias=row["alias"],
                backend=backends[0],
                backends=backends,
                max_steps=row["max_steps"],
                budget=row["budget"],
                block_lanes=values["block_lanes"],
                host_devices=values["host_devices"],
                only_accelerator=tuple(row.get("only_accelerator", ())),
                reference=row.get("reference"),
                reference_source=row.get("reference_source", ""),
            )
        )
    return tuple(entries)


def refused_envs() -> dict[str, str]:
    """Registered environments that cannot work, with the reason."""
    return {row["id"]: row["reason"] for row in read_table("rlbench.envs", "envs.toml")["refused"]}


def scores(env: str) -> dict[str, float]:
    """Measured returns of this full env id: `random`, `do_nothing`, their `_std`, `episodes`."""
    row: dict[str, float] = read_table("rlbench.envs", "scores.toml").get(env, {})
    return row


def paper_budget() -> int:
    """The paper's budget in env steps, the same for every environment."""
    return int(read_table("rlbench.envs", "envs.toml")["paper_budget"])


def find_env(name: str) -> EnvEntry:
    """The entry of an id, an alias, or either with `@backend`.

    Raises:
        UsageError: no such environment or backend, or one that cannot work (with the reason).
    """
    base, at, backend = name.partition("@")
    built_in = any(base in (entry.base, entry.alias) for entry in env_entries())
    plugin = plugins.find_plugin("env", base, built_in)
    if plugin and at:
        raise UsageError(f"env {base!r} has no backends; leave out '@{backend}'")
    if plugin:
        return _plugin_env(plugin)
    for refused, reason in refused_envs().items():
        if base.lower() in (refused.lower(), refused.partition("/")[2].lower()):
            raise UsageError(f"env {refused!r} cannot be used: {reason}")
    for entry in env_entries():
        if base in (entry.base, entry.alias):
            if not at:
                return entry
            if backend in entry.backends and backend:
                # The slow generalized backend is also the one whose two-device runs have hung.
                devices = 1 if backend == "generalized" else entry.host_devices
                return replace(entry, backend=backend, host_devices=devices)
            if entry.backends == ("",):
                raise UsageError(f"env {entry.base!r} has no backends; leave out '@{backend}'")
            raise UsageError(
                f"env {entry.base!r} has no backend {backend!r}; choose from "
                + ", ".join(entry.backends)
            )
    known = [n for e in env_entries() for n in (e.base, e.alias)]
    known += [p.name for p in plugins.announced("env")]
    raise UsageError(f"unknown env {name!r}; {_offer(base, known, 'envs')}")


def _plugin_env(plugin: Plugin) -> EnvEntry:
    return EnvEntry(
        base=plugin.name,
        alias=plugin.name,
        backend="",
        backends=("",),
        max_steps=0,
        budget=PLUGIN_BUDGET,
        block_lanes=PLUGIN_LANES,
        host_devices=PLUGIN_DEVICES,
        plugin=plugin,
    )


def _offer(word: str, known: list[str], kind: str) -> str:
    offer = nearest(word, known)
    return offer if offer.startswith("did") else f"`rlbench list {kind}` shows all {kind}"


@cache
def agent_entries() -> tuple[AgentEntry, ...]:
    """Every built-in agent, in the table's order."""
    table = read_table("rlbench.agents", "agents.toml")
    return tuple(
        AgentEntry(name, row["make"], row["about"], row["source"], tuple(row["settings"]))
        for name, row in table.items()
    )


def bridged() -> dict[str, Any]:
    """Strategies of evosax: `names`, and those `refused` with the reason."""
    return read_table("rlbench.agents", "evosax.toml")


def _find_bridged(name: str) -> AgentEntry:
    table, strategy = bridged(), name.removeprefix(BRIDGED)
    if strategy in table["refused"]:
        raise UsageError(f"algo {name!r} cannot be used: {table['refused'][strategy]}")
    if strategy not in table["names"]:
        raise UsageError(f"unknown algo {name!r}; {nearest(strategy, table['names'])}")
    make = f"rlbench.agents.evosax_strategies:{strategy}"
    return AgentEntry(name, make, f"evosax's {strategy}", "https://arxiv.org/abs/2212.04180", ())


def find_agent(name: str) -> AgentEntry:
    """The entry of this name.

    Raises:
        UsageError: no such agent.
    """
    known = {entry.name: entry for entry in agent_entries()}
    plugin = plugins.find_plugin("agent", name, name in known)
    if plugin:
        return AgentEntry(plugin.name, plugin.path, plugin.owner, "", (), plugin)
    if name in known:
        return known[name]
    if name.startswith(BRIDGED):
        return _find_bridged(name)
    names = [*known, *(p.name for p in plugins.announced("agent"))]
    raise UsageError(f"unknown algo {name!r}; {nearest(name, names)}")


def resolve(path: str) -> Any:
    """The object at `package.module:attribute`."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def load_agent(entry: AgentEntry) -> Any:
    """The agent's class.

    Raises:
        PluginError: it is somebody's, and cannot be loaded.
    """
    return plugins.load(entry.plugin) if entry.plugin else resolve(entry.make)


def make_env(entry: EnvEntry) -> Any:
    """Imports the suite's adapter and builds the environment.

    Raises:
        PluginError: it is somebody's, and cannot be loaded or made.
    """
    if entry.plugin:
        make = plugins.load(entry.plugin)
        try:
            return make()
        except Exception as error:
            raise plugins.broken(entry.plugin, "cannot be made without arguments", error) from None
    adapter = read_table("rlbench.envs", "envs.toml")["suite"][entry.suite]["adapter"]
    backend = {"backend": entry.backend} if entry.backend else {}
    return resolve(adapter)(id=entry.id, name=entry.name, max_steps=entry.max_steps, **backend)


def complete(entry: EnvEntry, env: Any) -> EnvEntry:
    """A plugin's entry with what only the environment itself knows."""
    if not entry.plugin:
        return entry
    return replace(
        entry,
        max_steps=env.spec.max_steps,
        budget=getattr(env, "budget", entry.budget),
        block_lanes=getattr(env, "block_lanes", entry.block_lanes),
    )
