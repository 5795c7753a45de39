"""Memory: what there is, and what a program needs at least, found out without running it."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import psutil
from jax.extend import core

from rlbench.cgroups import memory_room
from rlbench.errors import UsageError

KINDS = (core.ClosedJaxpr, core.Jaxpr)


class Room(NamedTuple):
    """How much may be used.

    Attributes:
        bytes: at most so many.
        told: which limit it is, after "more than".
        of_process: it is the whole process's; otherwise the device's buffers alone count.
    """

    bytes: int
    told: str
    of_process: bool


def told_size(count: float) -> str:
    """Bytes as they are told: MiB, and from 10 GiB on GiB."""
    return f"{count / 2**30:,.1f} GiB" if count >= 10 * 2**30 else f"{count / 2**20:,.0f} MiB"


def room_for(limit: int | None) -> Room:
    """The limit that was given; without one what is available here.

    Args:
        limit: bytes, of the whole process.
    """
    if limit is not None:
        return Room(limit, f"--max-memory {told_size(limit)}", True)
    stats = jax.local_devices()[0].memory_stats()
    if stats is not None and "bytes_limit" in stats:
        most = int(stats["bytes_limit"])
        return Room(most, f"the {told_size(most)} of the device", False)
    own = resident_bytes()
    there, group = psutil.virtual_memory().available, memory_room()
    if group is not None and group < there:
        return Room(group + own, f"the {told_size(group + own)} that its cgroup allows", True)
    return Room(there + own, f"the {told_size(there + own)} that are available here", True)


def resident_bytes() -> int:
    """The process's resident set now."""
    return int(psutil.Process().memory_info().rss)


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


def bytes_of(arrays: Any) -> int:
    """Of a pytree of arrays, or of their shapes."""
    return int(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(arrays)))


def bytes_needed(function: Callable[..., Any], *args: Any) -> int:
    """What goes in, what comes out, and the largest array on the way, if that is not fused away.

    Args:
        function: a pure function.
        args: pytrees of shapes and types.
    """
    held = bytes_of((args, jax.eval_shape(function, *args)))
    return held + max(_sizes(jax.make_jaxpr(function)(*args).jaxpr), default=0)


def _inner(eqn: Any) -> Iterator[Any]:
    """The programs that a step of a program has."""
    for inner in jax.tree.leaves(eqn.params, is_leaf=lambda x: isinstance(x, KINDS)):
        if isinstance(inner, KINDS):
            yield getattr(inner, "jaxpr", inner)


def _sizes(jaxpr: Any) -> Iterator[int]:
    """Bytes of every array that a program computes, those of inner programs included."""
    for eqn in jaxpr.eqns:
        for var in eqn.outvars:
            yield _var_bytes(var)
        for inner in _inner(eqn):
            yield from _sizes(inner)


def _var_bytes(var: Any) -> int:
    return int(var.aval.size * var.aval.dtype.itemsize)


def least_bytes(jaxpr: Any) -> int:
    """Bytes that a program needs whatever a compiler makes of it: a lower bound.

    Arrays on the way may be fused away, but not what comes out, nor what a loop carries or stacks
    up. One may be the other, so that the larger counts, not their sum. What goes in may be unused,
    and what comes out as it went in is not computed.
    """
    results = {x for x in jaxpr.outvars if isinstance(x, core.Var)} - set(jaxpr.invars)
    everything = [True] * len(jaxpr.outvars)
    return max(sum(map(_var_bytes, results)), _in_loops(jaxpr, everything))


def _in_loops(jaxpr: Any, wanted: list[bool]) -> int:
    """Of a program some of whose results are wanted: a compiler leaves out what only others need.

    A loop of one turn is none to a compiler. (jax itself takes out of a loop what no turn changes.)
    """
    results = zip(jaxpr.outvars, wanted, strict=True)
    most, needed = 0, {x for x, here in results if here and isinstance(x, core.Var)}
    for eqn in reversed(jaxpr.eqns):
        used = [var in needed for var in eqn.outvars]
        if not any(used) and not eqn.effects:
            continue
        needed.update(x for x in eqn.invars if isinstance(x, core.Var))
        turns, name = eqn.params.get("length", 0), eqn.primitive.name
        carried = {"while": len(used), "scan": eqn.params.get("num_carry")}.get(name, 0)
        # What it carries a loop itself may need; what it stacks up lies beside what a turn holds.
        inside = [True] * carried + used[carried:]
        parts = [x for x in _inner(eqn) if len(x.outvars) == len(used)]
        deeper = max((_in_loops(x, inside) for x in parts), default=0)
        held = [_var_bytes(var) if here else 0 for var, here in zip(eqn.outvars, used, strict=True)]
        if name == "while" or (name == "scan" and turns > 1):
            most = max(most, sum(held), sum(held[carried:]) + deeper)
        most = max(most, deeper)
    return most
