"""Memory that a program would need, found out without running it."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import psutil
from jax.extend import core

from rlbench.errors import UsageError


def refuse_more_than_there_is(what: str, needed: int, smaller: str) -> None:
    """Refuses what no run here could hold.

    Args:
        what: needs them.
        needed: at least so many bytes.
        smaller: what to choose instead.

    Raises:
        UsageError: says how much is needed, how much there is, and what to choose.
    """
    there = device_bytes()
    if needed > there:
        raise UsageError(
            f"{what} needs at least {needed / 2**30:,.1f} GiB of memory, and there are "
            f"{there / 2**30:,.1f} GiB; choose {smaller}"
        )


def device_bytes() -> int:
    """The first device's memory; a CPU's is the machine's."""
    stats = jax.devices()[0].memory_stats()
    if stats is None or "bytes_limit" not in stats:
        return int(psutil.virtual_memory().total)
    return int(stats["bytes_limit"])


def bytes_needed(function: Callable[..., Any], *args: Any) -> int:
    """A lower bound: what goes in, what comes out, and the largest array on the way.

    Args:
        function: a pure function.
        args: pytrees of shapes and types.
    """
    ends = jax.tree.leaves((args, jax.eval_shape(function, *args)))
    held = sum(x.size * x.dtype.itemsize for x in ends)
    return int(held + max(_sizes(jax.make_jaxpr(function)(*args).jaxpr), default=0))


def _sizes(jaxpr: Any) -> Iterator[int]:
    """Bytes of every array that a program computes, those of inner programs included."""
    kinds = (core.ClosedJaxpr, core.Jaxpr)
    for eqn in jaxpr.eqns:
        for var in eqn.outvars:
            yield var.aval.size * var.aval.dtype.itemsize
        for inner in jax.tree.leaves(eqn.params, is_leaf=lambda x: isinstance(x, kinds)):
            if isinstance(inner, kinds):
                yield from _sizes(getattr(inner, "jaxpr", inner))
