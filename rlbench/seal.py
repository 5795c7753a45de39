"""Hashes that tell whether a record is what was written. Imports no jax.

A sealed table holds `sha256`, of itself without that key, and a run's status.json also `files`, the
SHA-256 of its other files. Records from before seals have neither, and are taken as they are. This
tells damage, not forgery: who changes a file can seal it anew.
"""

import json
from collections.abc import Mapping
from typing import Any

from rlbench.files import digest, json_digest, to_json

KEY, FILES = "sha256", "files"


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """The table as JSON has it, with its hash, an older one replaced."""
    plain: dict[str, Any] = json.loads(to_json(unsealed(content)))
    return {**plain, KEY: json_digest(plain)}


def flaw(content: dict[str, Any]) -> str:
    """What is wrong with a table that may be sealed; empty if nothing is."""
    if KEY not in content:
        return "it lacks its sha256" if FILES in content else ""
    same = content[KEY] == json_digest(unsealed(content))
    return "" if same else "its sha256 is another than it says"


def unsealed(content: dict[str, Any]) -> dict[str, Any]:
    """The table without its hash."""
    return {k: v for k, v in content.items() if k != KEY}


def flaw_of_files(status: dict[str, Any], contents: Mapping[str, bytes | None]) -> str:
    """What is wrong with the files of a run, as far as its status lists them.

    Args:
        status: status.json, itself without a flaw.
        contents: by name; None for a file that is missing.

    Returns:
        The first of them that is not what was written; empty if there is none.
    """
    listed = status.get(FILES)
    for name, content in contents.items():
        wanted = listed.get(name) if isinstance(listed, dict) else None
        if wanted is not None and content is None:
            return f"{name} is missing"
        if wanted is not None and content is not None and digest(content) != wanted:
            return f"{name} is not what was written: its sha256 is another than status.json says"
    return ""
