"""What was measured for a reproduction, as a file: OUT/reproduce/NAME-SCALE/reproduction.json.

It is written after every case, and what it holds is not measured again. Imports no jax.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlbench import __version__
from rlbench.bench import driver
from rlbench.errors import UsageError
from rlbench.files import read_json, replace_file, to_json, writing
from rlbench.reproduce.spec import Spec
from rlbench.reproduction_shape import FILE, PROVENANCE, SCHEMA, unlike
from rlbench.seal import sealed
from rlbench.store import now

Tell = Callable[[str, int, int, float | None], None]


def folder_of(out: Path, spec: Spec) -> Path:
    """Where a reproduction at its scale lies."""
    return out / "reproduce" / f"{spec.name}-{spec.scale}"


def read(folder: Path) -> dict[str, Any] | None:
    """What the folder records; None if there is nothing.

    Raises:
        UsageError: it is damaged, or of another version.
    """
    path = folder / FILE
    try:
        data = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    if told := unlike(data):
        raise UsageError(f"{path} {told}; --overwrite measures anew")
    return dict(data)


def done(data: dict[str, Any] | None, spec: Spec) -> int:
    """How many of its cases would not be measured again."""
    return len(_kept(data, spec, _here())) if data else 0


def _here() -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(to_json(driver.provenance()))
    return plain


def _measured(data: dict[str, Any], spec: Spec) -> dict[str, dict[str, Any]]:
    asked = {case.name: (case.kind, json.loads(json.dumps(case.params))) for case in spec.cases}
    return {
        record["name"]: record
        for record in data["cases"]
        if "samples" in record and asked.get(record["name"]) == (record["kind"], record["params"])
    }


def _kept(
    data: dict[str, Any] | None, spec: Spec, here: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Cases that need not be measured again: of the same code, libraries and machine."""
    if data is None or here.get("dirty"):
        return {}
    then = data["provenance"]
    same = all(json.dumps(then.get(k)) == json.dumps(here.get(k)) for k in PROVENANCE)
    return _measured(data, spec) if same else {}


def measure(spec: Spec, folder: Path, command: str, again: bool, tell: Tell) -> dict[str, Any]:
    """Measures what is left, and records it.

    Args:
        spec: what to measure.
        folder: where to.
        command: that was typed.
        again: measures what is there anew.
        tell: is told before every case.

    Raises:
        UsageError: what is there is damaged, or cannot be written.
    """
    old = None if again else read(folder)
    here = _here()
    kept = _kept(old, spec, here)
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "name": spec.name,
        "scale": spec.scale,
        "rlbench": __version__,
        "command": command,
        "started": old["started"] if old and kept else now(),
        "ended": old["ended"] if old and kept else "",
        "load_before": old["load_before"] if old and kept else driver.load_average(),
        "provenance": here,
        "sweep": spec.sweep,
        "cases": list(kept.values()),
    }
    left = [case for case in spec.cases if case.name not in kept]
    for i, case in enumerate(left):
        tell(f"{spec.name}: {case.name}", i, len(left), _seconds_left(spec, len(left) - i))
        data["cases"].append(driver.measure(case))
        data["ended"] = now()
        write(folder, data)
    if not left:
        data["ended"] = data["ended"] or now()
        write(folder, data)
    return data


def _seconds_left(spec: Spec, left: int) -> float | None:
    return None if spec.seconds is None else spec.seconds * left / len(spec.cases)


def write(folder: Path, data: dict[str, Any]) -> None:
    """Writes the record whole or not at all.

    Raises:
        UsageError: the disk refuses.
    """
    text = to_json(sealed(data), indent=1) + "\n"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / FILE, text.encode())
