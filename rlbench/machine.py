"""Where a number was measured: versions, commit, device, processor. Holds no user or host name."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from rlbench.hosts.places import without_names
from rlbench.installed import usable_cores, versions
from rlbench.plugins import Plugin

JAX_CONFIG = (
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_enable_compilation_cache",
    "jax_use_shardy_partitioner",
)
JAX_VARIABLES = ("XLA_FLAGS", "JAX_PLATFORMS", "NPROC", "JAX_ENABLE_X64")


def _git(*arguments: str) -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit() -> dict[str, Any]:
    """The checkout's commit, and whether tracked files differ; nulls outside a checkout."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or not (Path(top) / "rlbench" / "machine.py").exists():
        return {"commit": None, "dirty": None}
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(changes)}


def processor() -> str:
    """The processor's model, as it calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def hardware(members: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Devices jax runs on, of all processes; processor, cores, memory of this one's machine; and
    processor and cores of every process, where there are several.
    """
    import jax

    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "device_count": len(devices),
        "processor": processor(),
        "usable_cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.system(),
        **({"processes": list(members)} if members else {}),
    }


def without_home(text: str) -> str:
    """Words without the path of the home directory, which often is a user's name."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def jax_settings() -> dict[str, Any]:
    """The jax switches that can change bits or speed."""
    import jax

    return {
        **{name: getattr(jax.config, name) for name in JAX_CONFIG},
        "variables": {k: without_home(os.environ[k]) for k in JAX_VARIABLES if k in os.environ},
    }


def provenance(
    plugins: Sequence[Plugin] = (), members: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """All of it, with the command line, what of the run is not ours, and its processes."""
    return {
        # Where it is installed is nobody's business, and often holds a user's name.
        "argv": [Path(sys.argv[0]).name, *map(without_home, without_names(sys.argv[1:]))],
        "versions": versions(),
        "plugins": [plugin.provenance() for plugin in plugins],
        **commit(),
        "hardware": hardware(members),
        "jax": jax_settings(),
        "resumed_from": [],
    }
