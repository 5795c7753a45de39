"""`rlbench run --algo ALGO --help`: an agent's settings, as its class documents them."""

import dataclasses
import inspect
import typing
from pathlib import Path
from typing import Any, Literal

import docstring_parser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlbench import registry
from rlbench.network import Network
from rlbench.settings import profile_settings


def documented(cls: type) -> dict[str, str]:
    """The docs of a dataclass's fields, by name: from the `Attributes:` of it and its bases."""
    told: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        parsed = docstring_parser.parse(inspect.cleandoc(vars(base).get("__doc__") or ""))
        told |= {p.arg_name: " ".join((p.description or "").split()) for p in parsed.params}
    return told


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _default(field: "dataclasses.Field[Any]") -> str:
    return "required" if field.default is dataclasses.MISSING else _shown(field.default)


def _table(cls: type, profile: dict[str, Any], column: str) -> Table:
    table = Table("setting", "default", *[column] * bool(column), "", box=None, header_style="bold")
    told, hints = documented(cls), typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        about = told.get(field.name, "")
        if typing.get_origin(hints[field.name]) is Literal:
            choices = ", ".join(map(str, typing.get_args(hints[field.name])))
            about = about if choices in about else f"{about} One of {choices}."
        chosen = profile.get(field.name)
        row = [field.name, _default(field)]
        if column:
            row.append(_shown(chosen) if field.name in profile else "")
        table.add_row(*map(Text, [*row, about]))
    return table


def show_settings(algo: str, env: str, profile: str) -> None:
    """Prints the settings of an agent and of the policy network.

    Args:
        algo: the agent's name.
        env: an environment's, to show what a profile sets for it; or empty.
        profile: "laptop", "paper", or the path of a settings file.

    Raises:
        UsageError: one of them does not exist.
    """
    entry = registry.find_agent(algo)
    cls = registry.load_agent(entry)
    settings: dict[str, Any] = {}
    network: dict[str, Any] = {}
    column = source = ""
    if env:
        id = registry.find_env(env).id
        settings, network, source = profile_settings(profile, id, entry)
        column = Path(profile).name
    console = Console(width=None if Console().is_terminal else 100, highlight=False)
    title = f"{entry.about}\n{entry.source}" if entry.source else entry.about
    console.print(f"\nsettings of {entry.name}, given by --set NAME=VALUE", style="bold")
    console.print(title, markup=False)
    console.print(_table(cls, settings, column))
    console.print("\nthe policy network, given by --set too", style="bold")
    console.print(_table(Network, network, column))
    if source:
        console.print(f"\n{column}: {source}", style="dim", markup=False)
