"""A reproduction's section of the report's page. Imports no jax."""

import base64
from typing import Any

from rlbench.analysis.reproduced.view import View, drawn, unmeasured


def section(one: View) -> dict[str, Any]:
    """A claim's section: verdicts, figure, and where its numbers come from."""
    return {
        "name": f"{one.name}-{one.data.scale}",
        "title": one.reproduction.title,
        "image": base64.b64encode(drawn(one, "svg")["svg"]).decode(),
        "findings": [vars(finding) for finding in one.findings],
        "chosen": one.reproduction.chosen,
        "limits": one.reproduction.limits if one.data.scale != "paper" else "",
        "unmeasured": unmeasured(one),
        "made_by": one.command,
        "provenance": "; ".join(one.provenance),
    }
