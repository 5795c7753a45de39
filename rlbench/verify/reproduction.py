"""The record of a reproduction: its hash, and what it must hold. No jax."""

from pathlib import Path

from rlbench.files import read_json
from rlbench.reproduction_shape import FILE, PROVENANCE, unlike
from rlbench.verify.finding import UNCOMMITTED, Findings


def check_reproduction(folder: Path) -> Findings:
    """What was measured; the runs of its sweep are checked by themselves.

    Args:
        folder: OUT/reproduce/NAME-SCALE.
    """
    found = Findings()
    try:
        data = read_json(folder / FILE)
    except (OSError, ValueError) as error:
        found.problems.append(f"{FILE} cannot be read: {error}")
        return found
    if told := unlike(data):
        found.problems.append(f"{FILE} {told}")
        return found
    for name in PROVENANCE:
        found.unless(name in data["provenance"], f"{FILE} does not tell {name}")
    if data["provenance"].get("commit") is None or data["provenance"].get("dirty"):
        found.notes.append(UNCOMMITTED)
    failed = [case["name"] for case in data["cases"] if "samples" not in case]
    if failed:
        found.notes.append(f"not measured: {', '.join(failed)}")
    return found
