"""Views of recorded runs: reads run directories only, and never imports jax.

In a notebook: `from rlbench import analysis`, then `analysis.load(path)` for a tidy table of all
evaluations, `analysis.score_matrices(path)` for matrices of final scores as rliable takes them.
"""

from typing import Any

__all__ = ["load", "score_matrices"]


def __getattr__(name: str) -> Any:
    """Imports pandas only when it is needed."""
    if name in __all__:
        from rlbench.analysis import frame

        return getattr(frame, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
