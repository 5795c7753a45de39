"""What a check has to say."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the list.

    Attributes:
        level: "problem" where runs fail, hang or give wrong numbers; "note" where something is
            slower, missing on purpose or other than tested.
        name: of what was checked.
        found: what there is, in words.
        remedy: what to do about it, in words.
        command: what to type, where that does it.
    """

    level: Level
    name: str
    found: str
    remedy: str = ""
    command: str = ""


def pip(*requirements: str) -> str:
    """The command that installs them."""
    words = [f'"{r}"' if set(r) & set("<>[ ;*~") else r for r in requirements]
    return " ".join(["python -m pip install", *words])
