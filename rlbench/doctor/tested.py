"""The versions that the tests ran with."""

import tomllib
from functools import cache
from importlib import resources


@cache
def _table() -> dict[str, dict[str, str]]:
    text = resources.files("rlbench.doctor").joinpath("tested.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def minor(python: str) -> str:
    """The first two numbers of a version."""
    return ".".join(python.split(".")[:2])


def supported() -> list[str]:
    """The Pythons that were tested: 3.11 and so on."""
    return [name for name in _table() if name != "any"]


def tested(python: str) -> dict[str, str]:
    """Versions by distribution, of those tested with this Python; empty if it was not."""
    table = _table()
    return {**table["any"], **table[minor(python)]} if minor(python) in supported() else {}
