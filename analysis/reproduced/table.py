"""docs/claims.md: every claim with our verdict, from the records alone. Imports no jax."""

from collections.abc import Sequence

from rlbench.analysis.reproduced.claim import AGREE, DIFFER, UNTESTED
from rlbench.analysis.reproduced.view import View, text

HEAD = f"""# The claims of the EGGROLL paper, checked

This page is made by `make claims` from the records in `results/recorded`; do not edit it. "v1" and
"v2" are the versions of arXiv 2511.16652. A verdict follows from recorded data by the rule that
stands beside it, and can come out either way: **{AGREE}**, **{DIFFER}**, or **{UNTESTED}**, where
the claim is about hardware or sizes that were not measured, or the data do not decide.
"""


def page(views: Sequence[View]) -> str:
    """The page.

    Args:
        views: in their order.
    """
    counts = {
        verdict: sum(f.verdict == verdict for one in views for f in one.findings)
        for verdict in (AGREE, DIFFER, UNTESTED)
    }
    told = ", ".join(f"{verdict} {count}" for verdict, count in counts.items())
    lines = [HEAD, f"{sum(counts.values())} claims: {told}.", ""]
    lines += ["| claim | where | verdict | figure | command | date | machine |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for one in views:
        for finding in one.findings:
            cells = [
                finding.claim,
                finding.where,
                f"**{finding.verdict}**",
                f"[{one.name}](#{one.name})",
                f"`{one.command}`",
                one.date,
                one.machine,
            ]
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    lines.append("")
    for one in views:
        heading, title, rest = text(one).split("\n\n", 2)
        lines += [heading, "", title, "", f"![{one.name}](claims/{one.name}.png)", "", rest]
    return "\n".join(lines)
