"""A user's mistake, told in one sentence."""

import difflib
from collections.abc import Iterable

PROBLEM = 5
"""Exit status of a command that checks: something is not as it should be."""


class UsageError(Exception):
    """What was asked for cannot be done; the message says what was wrong and what is right.

    The command line prints the message alone and exits with status 2.

    Attributes:
        details: what to print below the sentence, such as the traceback of somebody's plugin.
    """

    def __init__(self, message: str, details: str = "") -> None:
        """Takes the sentence, and what belongs below it."""
        super().__init__(message)
        self.details = details


class BudgetError(UsageError):
    """The budget cannot hold one update with these settings."""


class RunError(Exception):
    """A run that was going ended with an exception; the run directory says so.

    Attributes:
        details: the exception's traceback.
    """

    def __init__(self, message: str, details: str) -> None:
        """Takes the sentence and the traceback."""
        super().__init__(message)
        self.details = details


class WriteError(RunError):
    """A file of a run that was going cannot be written; the message says which, and why."""

    def __init__(self, message: str) -> None:
        """Takes the sentence."""
        super().__init__(message, "")


def nearest(word: str, choices: Iterable[str]) -> str:
    """A clause that offers the choices most like `word`, or lists them if none is."""
    known = sorted(set(choices))
    lowered = {c.lower(): c for c in known}
    close = difflib.get_close_matches(word.lower(), list(lowered), n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(lowered[c]) for c in close) + "?"
    return "choose from " + ", ".join(known)
