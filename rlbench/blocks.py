"""Work in blocks of a fixed shape, mapped in turn on each device and sharded over devices.

The compiled inner shape does not depend on the number of devices, and what comes back is gathered
and reduced in block order, so results are bit-identical on any number of devices of one kind.
Small blocks also stay in a CPU's cache: Brax's ant (spring) steps 3 times faster in blocks of 64
lanes on two host devices than in one lockstep of 1,024 lanes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "devices"


def largest_divisor(n: int, at_most: int) -> int:
    """The largest divisor of n that is not above `at_most` (1 if `at_most` is below 1)."""
    return next(d for d in range(max(1, min(n, at_most)), 0, -1) if n % d == 0)


@dataclass(frozen=True)
class Blocks:
    """Where blocks run and how large they are.

    Attributes:
        lanes: most lanes (episodes stepped together) in a block.
        devices: how many of this process's devices may be used.
    """

    lanes: int = 64
    devices: int = 1

    @cached_property
    def _mesh(self) -> Mesh:
        return jax.make_mesh(
            (self.devices,),
            (AXIS,),
            axis_types=(AxisType.Auto,),
            devices=jax.devices()[: self.devices],
        )

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of an algorithm's state: a whole copy on every device."""
        return NamedSharding(self._mesh, PartitionSpec())

    def split(self, items: int, lanes_per_item: int) -> tuple[int, int]:
        """(number of blocks, items per block): equal blocks of at most `lanes` lanes."""
        size = largest_divisor(items, self.lanes // lanes_per_item)
        return items // size, size

    def map(self, f: Callable[..., Any], shared: Any, *args: Any, gather: bool = True) -> Any:
        """Applies `f(shared, *slices)` to the slices of `args` along their leading axis, in turn.

        Args:
            f: a pure function of what is shared and one block's slices.
            shared: a pytree that every block sees whole.
            args: pytrees with leading axis (number of blocks,).
            gather: give every device the whole result; otherwise it stays with the device that
                made it, for a later `map`.

        Returns:
            f's results, stacked in block order.
        """
        blocks = jax.tree.leaves(args)[0].shape[0]
        # Equal shards keep the inner program the same. Where the blocks do not divide among the
        # devices, each device does all of them: no slower than one device, and the same bits.
        spread = blocks % self.devices == 0
        spec = PartitionSpec(AXIS) if spread else PartitionSpec()

        def on_device(shared: Any, *local: Any) -> Any:
            out = jax.lax.map(lambda block: f(shared, *block), local)
            if spread and gather:
                out = jax.lax.all_gather(out, AXIS, axis=0, tiled=True)
            return out

        return jax.shard_map(
            on_device,
            mesh=self._mesh,
            in_specs=(PartitionSpec(), *[spec] * len(args)),
            out_specs=PartitionSpec() if gather else spec,
            check_vma=False,
        )(shared, *args)
