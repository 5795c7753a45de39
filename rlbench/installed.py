"""What is installed that decides about a run's numbers. Imports no jax."""

import importlib.metadata
import platform

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
