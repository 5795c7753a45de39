"""What there is here that decides about a run's numbers. Imports no jax."""

import importlib.metadata
import os
import platform
from pathlib import Path

DISTRIBUTIONS = ("rlbench", "jax", "jaxlib", "numpy", "optax", "brax", "mujoco", "gymnax")


def versions() -> dict[str, str]:
    """Python's and the installed distributions' versions."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a distribution"
    return found


def usable_cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def own_cache() -> Path | None:
    """Where compiled programs are kept; None where jax's own variable says where.

    Raises:
        RuntimeError: there is no home directory.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rlbench" / "programs"
