"""Files that a person wrote, read with a sentence for everything that may be wrong with them.

Imports no jax.
"""

import tomllib
from pathlib import Path
from typing import Any

from rlbench.errors import UsageError
from rlbench.files import parse_json, read_bytes, refuse_large

MAX_BYTES = 1 << 20


def read_given(path: Path, what: str) -> Any:
    """A file as data: JSON if its name ends so, TOML otherwise.

    Args:
        path: the file.
        what: how a message calls it, e.g. "sweep file".

    Raises:
        UsageError: missing, larger than 1 MiB, or malformed.
    """
    try:
        text = read_bytes(path, MAX_BYTES).decode()
        if path.suffix == ".json":
            return parse_json(text)
        data = tomllib.loads(text)
        refuse_large(data)
        return data
    except OSError as error:
        raise UsageError(f"cannot read {what} {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise UsageError(f"{what} {path} is not valid {kind}: {error}") from None


def as_table(value: Any, what: str) -> dict[str, Any]:
    """The value, if it is a table.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(value, dict):
        raise UsageError(f"{what} must be a table, not {value!r}")
    return value
