"""Starts jax in a process of its own, and tells what came of it. Imports no jax."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlbench.doctor.finding import Finding, pip
from rlbench.doctor.tested import tested

SECONDS = 120.0
PROBE = (sys.executable, "-P", str(Path(__file__).with_name("probe.py")))
"""By its path, and -P: a jax.py or json.py of the folder it is called in is not taken for ours."""


@dataclass(frozen=True)
class Outcome:
    """What the process said.

    Attributes:
        status: its exit status, negative for a signal; None if it was not done in time.
        out: its stdout.
        err: its stderr.
    """

    status: int | None
    out: str = ""
    err: str = ""


def ask(command: Sequence[str] = PROBE, seconds: float = SECONDS) -> Outcome:
    """Lets the process look, without taking a GPU's memory from those who use it."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        )
    except subprocess.TimeoutExpired:
        return Outcome(None)
    return Outcome(done.returncode, done.stdout, done.stderr)


def devices(outcome: Outcome, python: str, environ: Mapping[str, str]) -> list[Finding]:
    """What there is to compute on, and whether it computes what is known."""
    told = _read(outcome)
    if isinstance(told, str):
        return [_broken(told, python, environ)]
    kinds = f"{told['count']} {told['platform']} device{'s' if told['count'] > 1 else ''}"
    if told["kind"] != told["platform"]:
        kinds += f" ({told['kind']})"
    if not told["wrong"]:
        return [Finding("ok", "jax", f"starts, {kinds}, known results are right")]
    return [_broken(f"computes wrongly on {kinds}: {', '.join(told['wrong'])}", python, {})]


def _read(outcome: Outcome) -> dict[str, Any] | str:
    """What was found, or a sentence about why nothing was."""
    if outcome.status is None:
        return f"was not done with starting after {SECONDS:g} s"
    if outcome.status < 0:
        try:
            name = signal.Signals(-outcome.status).name
        except ValueError:
            name = f"signal {-outcome.status}"
        return f"ends its process as it starts ({name})"
    lines = outcome.out.strip().splitlines()
    try:
        told = dict(json.loads(lines[-1]))
    except (IndexError, TypeError, ValueError):
        last = (outcome.err.strip().splitlines() or [f"status {outcome.status}"])[-1]
        return f"does not start: {last}"
    return f"does not start: {' '.join(told['error'].split())}" if "error" in told else told


def _broken(told: str, python: str, environ: Mapping[str, str]) -> Finding:
    ours = sorted(name for name in environ if name.startswith(("JAX_", "XLA_")))
    named = [name for name in ours if name in told]
    if not named and environ.get("JAX_PLATFORMS"):
        named = ["JAX_PLATFORMS"]
    if named:
        how = "; ".join(f"{name} is {environ[name] or 'empty'}" for name in named)
        return Finding("problem", "jax", told, f"{how}: let jax choose", f"unset {' '.join(named)}")
    known = tested(python)
    pair = [f"{n}=={known[n]}" if n in known else n for n in ("jax", "jaxlib")]
    command = pip(*pair).replace("install", "install --force-reinstall --no-deps")
    return Finding("problem", "jax", told, "install it again", command)
