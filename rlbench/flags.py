"""A command's flags, from the dataclass that lists them. Imports no jax."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, TypeVar, cast, get_type_hints

import tyro

from rlbench.errors import UsageError, nearest

T = TypeVar("T")


def flag(value: str, hint: str) -> Any:
    """How the help shows a flag: its value, and its default in words."""
    return tyro.conf.arg(metavar=value or None, help_behavior_hint=f"({hint})" if hint else "")


def parse_flags(cls: type[T], argv: Sequence[str], prog: str) -> T:
    """A command's flags, as the dataclass that lists them.

    Raises:
        UsageError: an unknown flag; the nearest is offered.
    """
    # tyro's own message for an unknown flag is a box of several lines; ours is one sentence.
    options, unknown = tyro.cli(
        cls,
        args=list(argv),
        prog=prog,
        return_unknown_args=True,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if unknown:
        hints = get_type_hints(cls, include_extras=True)
        flags = [
            "--" + f.name.replace("_", "-")
            for f in dataclasses.fields(cast(Any, cls))
            if tyro.conf.Positional not in getattr(hints[f.name], "__metadata__", ())
        ]
        raise UsageError(f"unknown argument {unknown[0]!r}; {nearest(unknown[0], flags)}")
    return options


def value_of(argv: Sequence[str], flag: str) -> str:
    """What a flag is followed by, `--flag VALUE` or `--flag=VALUE`; empty if it is not there."""
    for i, word in enumerate(argv):
        if word == flag and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return ""


def number(text: str, flag: str) -> float:
    """A number as people write it: 2e6, 2_000_000.

    Raises:
        UsageError: it is not one.
    """
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{flag} must be a number such as 2e6, not {text!r}") from None


def whole(text: str, flag: str) -> int:
    """An integer as people write it, 2e6 included.

    Raises:
        UsageError: it is not one.
    """
    value = number(text, flag)
    if not value.is_integer():  # false for nan and infinities too
        raise UsageError(f"{flag} must be a whole number such as 2e6, not {text!r}")
    return int(value)


def size(text: str, flag: str) -> int:
    """Bytes as people write them: 8GiB, 500MB, 2e9.

    Raises:
        UsageError: it is no such size.
    """
    found = re.fullmatch(r"([0-9.eE+_]+)\s*(?:([kKMGT])(i?)B?|B)?", text.strip())
    if not found:
        raise UsageError(f"{flag} must be a size such as 8GiB, not {text!r}")
    power = " KMGT".index((found[2] or " ").upper())
    bytes_ = number(found[1], flag) * (1024 if found[3] else 1000) ** power
    if not 1 <= bytes_ < 1 << 60:
        raise UsageError(f"{flag} must be a size such as 8GiB, not {text!r}")
    return int(bytes_)
