"""Work in queues of a fixed shape, taken in turn by each device and sharded over devices.

What is compiled for a queue does not depend on the number of devices, and what comes back is
gathered and reduced in the queues' order, so results are bit-identical on any number of devices of
one kind. Few lanes at a time also stay in a CPU's cache: Brax's ant (spring) steps 3 times faster
in 64 lanes on each of two host devices than in one lockstep of 1,024 lanes.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "devices"

if jax.__version_info__ >= (0, 11) and "JAX_USE_SHARDY_PARTITIONER" not in os.environ:
    # Shardy ends the process (segmentation fault) while it compiles Brax's steps for two CPU
    # devices (jax 0.11.2; not 0.10.2). The partitioner before it compiles them.
    jax.config.update("jax_use_shardy_partitioner", False)


def largest_divisor(n: int, at_most: int) -> int:
    """The largest divisor of n that is not above `at_most` (1 if `at_most` is below 1)."""
    return next(d for d in range(max(1, min(n, at_most)), 0, -1) if n % d == 0)


def _by_process() -> list[list[jax.Device]]:
    devices: list[list[jax.Device]] = [[] for _ in range(jax.process_count())]
    for device in jax.devices():
        devices[device.process_index].append(device)
    return devices


def _of_this_process(x: Any) -> Any:
    """A copy on one of this process's devices of what all processes have whole."""
    elsewhere = isinstance(x, jax.Array) and not x.is_fully_addressable
    return x.addressable_data(0) if elsewhere else x


TURNS = 32
"""Items that a slot plays one after the other, where there are enough: the last ones of a queue
leave slots idle, and the more items a slot has had by then, the less that matters."""
MOST_QUEUES = 64
"""Partial sums of an update are kept by queue, so that their memory stays bounded."""


@dataclass(frozen=True)
class Blocks:
    """Where queues are worked off, and how.

    Attributes:
        lanes: most lanes (episodes stepped together) of a queue.
        devices: how many devices may be used: this process's, or as many of every process of the
            run if its own are too few.
        queues: fewest queues; as many devices can share even a small population.
        reduction: "ordered" sums over queues in their order; "psum" leaves the order to the
            devices, which needs less memory, and gives other bits on another number of them.
        packing: let waiting items take the slots of those that have ended; otherwise slots wait for
            the last of them.
        cache_bytes: what the items in the slots may need of memory that every step reads; 0 for no
            limit.
    """

    lanes: int = 64
    devices: int = 1
    queues: int = 2
    reduction: Literal["ordered", "psum"] = "ordered"
    packing: bool = True
    cache_bytes: int = 0

    @cached_property
    def _mesh(self) -> Mesh:
        return jax.make_mesh(
            (self.devices,),
            (AXIS,),
            axis_types=(AxisType.Auto,),
            devices=self._chosen,
        )

    @property
    def _chosen(self) -> list[jax.Device]:
        if not self.spans_processes:
            return list(jax.local_devices()[: self.devices])
        each = self.devices // jax.process_count()
        return [d for of_one in _by_process() for d in of_one[:each]]

    @property
    def spans_processes(self) -> bool:
        """Whether this process has only some of the devices."""
        return self.devices > jax.local_device_count()

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of an algorithm's state: a whole copy on every device."""
        return NamedSharding(self._mesh, PartitionSpec())

    def put(self, tree: Any) -> Any:
        """A whole copy on every device of what this process has whole.

        Args:
            tree: a pytree of arrays and keys, with the same bits in every process.
        """
        if self.spans_processes:  # where `device_put` has no way to put it
            return jax.jit(lambda x: x, out_shardings=self.replicated)(tree)
        return jax.device_put(jax.tree.map(_of_this_process, tree), self.replicated)

    def whole(self, x: Any) -> Any:
        """Keeps a value whole on every device.

        What `map` splits up, XLA's partitioner would like to have computed in parts: a mean on the
        way there would be summed by device, and its bits depend on their number.
        """
        return jax.lax.with_sharding_constraint(x, self.replicated)

    def everywhere(self, f: Callable[..., Any], *args: Any) -> Any:
        """`f(*args)`, computed whole by every device, where the partitioner has no say.

        Args:
            f: a pure function that captures no traced value.
            args: pytrees that every device has whole.
        """
        whole = PartitionSpec()
        return jax.shard_map(f, mesh=self._mesh, in_specs=whole, out_specs=whole, check_vma=False)(
            *args
        )

    def fitting(self, lanes_per_item: int, item_bytes: int) -> "Blocks":
        """The same with so few lanes that what their items' every step reads fits the cache."""
        if not self.cache_bytes:
            return self
        lanes = self.cache_bytes // item_bytes * lanes_per_item
        return replace(self, lanes=min(self.lanes, max(lanes, lanes_per_item)))

    def split(self, items: int, lanes_per_item: int) -> tuple[int, int]:
        """(number of queues, items in each): equal queues, whatever the number of devices."""
        wanted = items * lanes_per_item // (self.lanes * TURNS)
        queues = largest_divisor(items, min(max(wanted, self.queues), MOST_QUEUES))
        return queues, items // queues

    def lockstep(self, items: int, lanes_per_item: int = 1) -> tuple[int, int]:
        """(number of queues, items in each) for items that all play at once and never end."""
        fewest = max(-(-items * lanes_per_item // self.lanes), min(self.queues, items))
        queues = next(n for n in range(min(fewest, items), items + 1) if items % n == 0)
        return queues, items // queues

    def slots(self, items: int, lanes_per_item: int) -> int:
        """How many items of a queue play together."""
        return max(1, min(items, self.lanes // lanes_per_item))

    def most_steps(self, items: int, lanes_per_item: int, horizon: int) -> int:
        """The most env steps that a queue of these items can take, idle lanes included.

        While items wait, at least `slots - refill_at + 1` slots play; then the last ones end.
        """
        slots = self.slots(items, lanes_per_item)
        if items == slots:
            return items * lanes_per_item * horizon
        busy = slots - self.refill_at(slots) + 1
        return slots * lanes_per_item * (items * horizon // busy + horizon)

    def refill_at(self, slots: int) -> int:
        """How many slots must be free before waiting items take them."""
        return max(1, slots // 8) if self.packing else slots

    def map(self, f: Callable[..., Any], shared: Any, *args: Any, gather: bool = True) -> Any:
        """Applies `f(shared, *slices)` to the slices of `args` along their leading axis, in turn.

        Args:
            f: a pure function of what is shared and one queue's slices.
            shared: a pytree that every queue sees whole.
            args: pytrees with leading axis (number of queues,), the first of them whole.
            gather: give every device the whole result; otherwise it stays with the device that
                made it, for a later `map` or `sum`, and may be longer by what `_pad` adds.

        Returns:
            f's results, stacked in the queues' order.
        """
        queues = jax.tree.leaves(args)[0].shape[0]

        def on_device(shared: Any, *local: Any) -> Any:
            out = jax.lax.map(lambda queue: f(shared, *queue), local)
            if gather:
                out = jax.lax.all_gather(out, AXIS, axis=0, tiled=True)
                out = jax.tree.map(lambda x: x[:queues], out)
            return out

        return self._shard(on_device, gather)(shared, *self._pad(args))

    def sum(self, f: Callable[..., Any], shared: Any, *args: Any) -> Any:
        """The sum over queues of what `map` would give, by `reduction`."""
        if self.reduction == "ordered":
            return jax.tree.map(lambda x: jnp.sum(x, axis=0), self.map(f, shared, *args))
        queues = jax.tree.leaves(args)[0].shape[0]
        real = jnp.arange(queues + -queues % self.devices) < queues

        def on_device(shared: Any, real: Any, *local: Any) -> Any:
            def add(total: Any, queue: Any) -> tuple[Any, None]:
                part = f(shared, *queue[1])
                return jax.tree.map(lambda t, x: t + jnp.where(queue[0], x, 0.0), total, part), None

            like = jax.eval_shape(lambda x: f(shared, *x), jax.tree.map(lambda x: x[0], local))
            zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
            return jax.lax.psum(jax.lax.scan(add, zero, (real, local))[0], AXIS)

        return self._shard(on_device, True)(shared, real, *self._pad(args))

    def _pad(self, args: Any) -> Any:
        """Repeats queues so that every device has as many: one that had fewer would only wait."""

        def more(x: Any) -> Any:
            return jnp.concatenate([x, x[jnp.arange(-x.shape[0] % self.devices) % x.shape[0]]])

        return jax.tree.map(lambda x: more(x) if x.shape[0] % self.devices else x, args)

    def _shard(self, on_device: Callable[..., Any], gather: bool) -> Callable[..., Any]:
        def call(shared: Any, *args: Any) -> Any:
            spec = PartitionSpec(AXIS)
            return jax.shard_map(
                on_device,
                mesh=self._mesh,
                in_specs=(PartitionSpec(), *[spec] * len(args)),
                out_specs=PartitionSpec() if gather else spec,
                check_vma=False,
            )(shared, *args)

        return call
