"""Runs cases in order, each in a process of its own, and records them. Imports no jax."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rlbench.bench.cases import Case
from rlbench.bench.ratios import ratios
from rlbench.bench.schema import SCHEMA, validate
from rlbench.files import replace_file, to_json, writing
from rlbench.store import now

TAIL = 2000
"""Characters kept of what a failed process wrote on stderr."""
Tell = Callable[[str, int, int, float | None], None]
"""Told before every case: its name, how many are done, of how many, and seconds left if known."""


def _finish(command: Sequence[str], timeout: float) -> tuple[int, str, str]:
    """(status, stdout, stderr) of a process, which is ended if it takes too long."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            # With what it has started itself, such as a run whose start is being timed.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, out, err


def measure(case: Case) -> dict[str, Any]:
    """One case's record, whatever happens to its process."""
    record: dict[str, Any] = {"name": case.name, "kind": case.kind, "params": case.params}
    asked = json.dumps({"kind": case.kind, "params": case.params})
    start = time.monotonic()
    try:
        command = [sys.executable, "-m", "rlbench.bench.measure", asked]
        status, out, err = _finish(command, case.timeout)
    except subprocess.TimeoutExpired:
        return {**record, "failed": f"not done after {case.timeout:g} s"}
    seconds = time.monotonic() - start
    if status:
        return {**record, "failed": f"ended with status {status}: {err[-TAIL:].strip()}"}
    try:
        result = json.loads(out)
        if "skipped" in result:
            return {**record, "skipped": result["skipped"]}
        samples, values = result["samples"], result["values"]
        found = ratios(case.kind, samples)
    except (ValueError, KeyError, TypeError) as error:
        return {**record, "failed": f"its result is not as expected: {error!r}"}
    return {**record, "seconds": seconds, "samples": samples, "ratios": found, "values": values}


def load_average() -> list[float] | None:
    """Over 1, 5 and 15 minutes, where the system tells it."""
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


def provenance() -> dict[str, Any]:
    """Where the cases run, from a process that has what they have."""
    record = measure(Case("provenance", "provenance", {}, quick=True, timeout=300.0))
    if "values" not in record:
        return {"failed": record.get("failed", "")}
    found: dict[str, Any] = record["values"]
    # Those of the process that was asked would tell nothing.
    return {name: value for name, value in found.items() if name not in ("argv", "resumed_from")}


def bench(
    cases: Sequence[Case],
    path: Path,
    arguments: Sequence[str],
    quick: bool,
    tell: Tell = lambda name, done, of, left: None,
) -> dict[str, Any]:
    """Measures every case; after each, the file holds all that is known.

    Args:
        cases: in this order.
        path: the `bench.json` to write; its folder exists.
        arguments: of the command line, to be recorded.
        quick: whether the sizes are those of `--quick`.
        tell: for a progress line.

    Returns:
        What the file holds.
    """
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "started": now(),
        "ended": "",
        "command": shlex.join(["python", "-m", "rlbench", "bench", *arguments]),
        "quick": quick,
        "load_before": load_average(),
        "provenance": provenance(),
        "cases": [],
    }
    start = time.monotonic()
    for i, case in enumerate(cases):
        elapsed = time.monotonic() - start
        tell(case.name, i, len(cases), elapsed / i * (len(cases) - i) if i else None)
        data["cases"].append(measure(case))
        data["ended"] = now()
        write(path, data)
    return data


def write(path: Path, data: dict[str, Any]) -> None:
    """Writes the file whole or not at all.

    Raises:
        UsageError: the disk refuses it.
        ValueError: it is not what the schema says.
    """
    plain = json.loads(to_json(data))
    validate(plain)
    with writing(path):
        replace_file(path, (json.dumps(plain, indent=1) + "\n").encode(), "report")
