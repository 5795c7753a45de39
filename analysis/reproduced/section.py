"""Reproductions as sections of the report's page. Imports no jax."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlbench.analysis.reproduced.view import View, as_expected, drawn, find_views, unmeasured
from rlbench.errors import UsageError

Section = dict[str, Any]


def sections(paths: Sequence[Path]) -> tuple[list[Section], list[tuple[str, str]]]:
    """Of what is recorded in these folders.

    Returns:
        They, in the catalogue's order, and (folder, reason) of records that cannot be shown.
    """
    found, bad = find_views(paths)
    shown = []
    for one in found:
        try:
            shown.append(section(one))
        except UsageError as error:
            bad.append((one.folder, str(error)))
    return shown, bad


def section(one: View) -> Section:
    """A claim's section: verdicts, figure, and where its numbers come from.

    Raises:
        UsageError: the record is not as a reproduction writes it.
    """
    with as_expected(one.record):
        return {
            "name": one.folder,
            "sha256": one.record["sha256"],
            "title": one.reproduction.title,
            "image": base64.b64encode(drawn(one, "svg")["svg"]).decode(),
            "findings": [vars(finding) for finding in one.findings],
            "chosen": one.reproduction.chosen,
            "limits": one.reproduction.limits if one.data.scale != "paper" else "",
            "unmeasured": unmeasured(one),
            "made_by": one.command,
            "provenance": "; ".join(one.provenance),
        }
