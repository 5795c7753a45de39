"""NaN and infinity. Nothing is masked: they end a run as `diverged`, and the reason names them.

A run has diverged when, after an update, an array of the state or a metric called `fitness_…` is
not finite, or when a return of an evaluation is not. What the policy observes is covered by that:
where observations are normalised, one that is not finite is in their moments; where they are not,
and in evaluations, it makes its episode's return NaN (`rlbench.rollout`); an actor-critic's
gradients have it in any case. Only idle lanes, whose episodes have ended, may hold anything.

A run that diverged keeps its record, the row of that update and its policy included, and a report
counts it; a run that failed raised an exception.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from rlbench.algorithm import AnyAlgorithm, Task
from rlbench.state import path_name

FITNESS = "fitness_"
"""How the names of metrics begin that must stay finite."""


def float_arrays(state: Any) -> dict[str, Any]:
    """The arrays of a state that can be NaN, by the paths that policy.safetensors has."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {path_name(at): x for at, x in leaves if jnp.issubdtype(x.dtype, jnp.floating)}


def update_function(algorithm: AnyAlgorithm, task: Task) -> Callable[[Any], Any]:
    """One update of any algorithm; its metrics have `finite` besides, a flag for each of the new
    state's `float_arrays`.
    """

    def update(state: Any) -> Any:
        state, metrics = algorithm.step(task, state)
        flags = [jnp.all(jnp.isfinite(x)) for x in float_arrays(state).values()]
        return state, metrics | {"finite": jnp.array(flags, bool)}

    return update


def not_finite(names: Sequence[str], flags: Sequence[bool], metrics: Mapping[str, Any]) -> str:
    """What of an update's result is NaN or infinite, in words; empty if nothing is.

    Args:
        names: of the state's `float_arrays`.
        flags: which of them are finite.
        metrics: of the update, as numbers.
    """
    told = []
    fitness = [k for k, v in metrics.items() if k.startswith(FITNESS) and not math.isfinite(v)]
    if fitness:
        told.append(f"the fitness ({', '.join(fitness)})")
    lost = [name for name, good in zip(names, flags, strict=True) if not good]
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        told.append(f"{lost[0]} of the state{more}")
    return " and ".join(told)
