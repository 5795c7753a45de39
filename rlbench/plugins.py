"""Agents and environments of others: their names are listed without importing anything, and only
the chosen one is loaded.

A distribution announces them as entry points of the groups `rlbench.agents` and `rlbench.envs`.
What is not packaged is named by where it is, `package.module:Class`, also from the current folder.
A plugin is code and runs with the rights of whoever runs it.
"""

import importlib
import importlib.metadata
import os
import re
import sys
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from rlbench.errors import UsageError, nearest

Kind = Literal["agent", "env"]
GROUPS: dict[Kind, str] = {"agent": "rlbench.agents", "env": "rlbench.envs"}
OPTION: dict[Kind, str] = {"agent": "algo", "env": "env"}
PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
CALLERS = ("plugins", "contract", "audit", "registry")
"""Our modules that call a plugin: in the way of its own traceback."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


class PluginError(UsageError):
    """A plugin cannot be used; the message names it and its distribution."""


@dataclass(frozen=True)
class Plugin:
    """One agent or environment of others.

    Attributes:
        kind: "agent" or "env".
        name: what `--algo` or `--env` calls it.
        path: `package.module:attribute`.
        distribution: the installed distribution that it comes from; empty for a bare module.
        version: the distribution's.
    """

    kind: Kind
    name: str
    path: str
    distribution: str = ""
    version: str = ""

    @property
    def owner(self) -> str:
        """Who is responsible for it, in words."""
        if self.distribution:
            return f"{self.distribution} {self.version}"
        return f"module {self.path.partition(':')[0]}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of {self.owner}"

    def provenance(self) -> dict[str, str | None]:
        """What a run records of it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "path": self.path,
            "distribution": self.distribution or None,
            "version": self.version or None,
        }


@cache
def announced(kind: Kind) -> tuple[Plugin, ...]:
    """What the installed distributions announce, by name; nothing is imported."""
    found = set()
    for point in importlib.metadata.entry_points(group=GROUPS[kind]):
        dist = point.dist
        name, version = (dist.name, dist.version) if dist else ("", "")
        if NAME.fullmatch(point.name):
            # A checkout that is installed can be found twice: the same plugin, not two.
            found.add(Plugin(kind, point.name, point.value, name, version))
    return tuple(sorted(found, key=lambda p: (p.name, p.owner)))


def find_plugin(kind: Kind, name: str, built_in: bool) -> Plugin | None:
    """The plugin of this name, or of this `package.module:Class`; None if there is none.

    Args:
        kind: "agent" or "env".
        name: as a person gave it.
        built_in: whether rlbench has one of this name itself.

    Raises:
        UsageError: several are called so.
    """
    if PATH.fullmatch(name):
        return _by_path(kind, name)
    found = [p for p in announced(kind) if p.name == name]
    owners = ["rlbench itself"] * built_in + [p.owner for p in found]
    if len(owners) > 1:
        ways = ", ".join(p.path for p in found)
        raise UsageError(
            f"--{OPTION[kind]} {name} could mean several: {' and '.join(owners)} have one; "
            f"uninstall all but one, or name the class: {ways}"
        )
    return found[0] if found else None


def _by_path(kind: Kind, path: str) -> Plugin:
    top = path.partition(":")[0].partition(".")[0]
    owners = importlib.metadata.packages_distributions().get(top, [])
    if len(set(owners)) != 1:
        return Plugin(kind, path, path)
    return Plugin(kind, path, path, owners[0], importlib.metadata.version(owners[0]))


def load(plugin: Plugin) -> Any:
    """Imports the plugin's module and takes its class.

    Raises:
        PluginError: it cannot be imported (with the plugin's own traceback), or has no such name.
    """
    module_name, _, attribute = plugin.path.partition(":")
    here = os.getcwd()
    if plugin.name == plugin.path and here not in sys.path:
        sys.path.append(here)  # the last, so that no file there shadows what is installed
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and _is_part_of(error.name, module_name):
            raise PluginError(
                f"{plugin} cannot be loaded: no module named {error.name!r}"
            ) from None
        raise broken(plugin, "cannot be imported", error) from None
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [n for n in vars(found) if not n.startswith("_")]
            raise PluginError(
                f"{plugin} cannot be loaded: {module_name} has no {attribute!r}; "
                + nearest(attribute, public)
            )
        found = getattr(found, part)
    return found


def _is_part_of(missing: str | None, module: str) -> bool:
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def broken(plugin: Plugin | None, what: str, error: BaseException) -> PluginError:
    """The error that says so, with the traceback from the plugin's own frames on."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = ("importlib", *(str(Path(__file__).with_name(f"{m}.py")) for m in CALLERS))
    foreign = [f for f in frames if not any(part in f.filename for part in ours)]
    told = f"{type(error).__name__}: {str(error).strip()}"
    who = str(plugin) if plugin else "it"
    return PluginError(
        f"{who} {what}: {told.partition(chr(10))[0]}",
        details="".join(traceback.format_list(foreign)) + told,
    )
