"""Forward passes of a whole population beside one unperturbed network on as large a batch.

Everything but the pass is left out: noise was drawn before, and inputs feed back from outputs, so
that no pass can be skipped. Perturbed variants run as a rollout runs them, some lanes at a time on
every device, each batch of lanes for `steps` passes before the next takes its place; `plain` does
the same without noise, and `plain, one batch` is the whole population at once on one
device, with XLA's own options and its own way to spread matrix products over the cores.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rlbench.agents import _perturbation as noises
from rlbench.bench.timing import interleaved
from rlbench.blocks import Blocks
from rlbench.env import Box, EnvSpec, Vector
from rlbench.meter import Compiled
from rlbench.network import Network
from rlbench.policy import MLPPolicy
from rlbench.types import Params

SPEC = EnvSpec("bench/forward", Vector(27), Box((-1.0,) * 8, (1.0,) * 8), 1)
"""Sizes of Brax's ant."""
MOST_NOISE_BYTES = 1 << 30
SIGMA = 0.05


def _passes(apply: Callable[[Array], Array], x: Array, steps: int) -> Array:
    """The sum of (..., 27) inputs after so many passes, each input fed by the last output."""

    def once(_: Any, x: Array) -> Array:
        return jnp.tanh(x + 0.1 * apply(x)[..., :1])

    return jnp.sum(jax.lax.fori_loop(0, steps, once, x))


def in_queues(
    policy: MLPPolicy, blocks: Blocks, how: noises.Perturbation | None, population: int, steps: int
) -> Callable[[Params, Array, Any], Array]:
    """The whole population, in the engine's queues and lanes."""
    queues, pairs = blocks.split(population // 2, 2)
    together = 2 if how is not None and how.shared else 1
    slots = blocks.slots(2 * pairs // together, together)
    batches = 2 * pairs // (slots * together)

    def queue(params: Params, x: Array, noise: Any) -> Array:
        def batch(rows: tuple[Array, Array]) -> Array:
            x, slot = rows[0].reshape(slots, together, -1), rows[1]
            if how is None:
                return _passes(lambda x: policy.apply(params, x), x, steps)
            mine = jax.tree.map(lambda e: e[slot * together // 2], noise)
            lane = slot[:, None] * together + jnp.arange(together)
            linear = noises.linear(how, mine, SIGMA * jnp.where(lane % 2 == 0, 1.0, -1.0))
            return _passes(lambda x: policy.apply(params, x, linear=linear), x, steps)

        x = x.reshape(batches, slots * together, -1)
        return jnp.sum(jax.lax.map(batch, (x, jnp.arange(batches * slots).reshape(batches, slots))))

    return lambda params, x, noise: jnp.sum(
        blocks.map(queue, params, x.reshape(queues, 2 * pairs, -1), noise)
    )


def _noise(
    how: noises.Perturbation, blocks: Blocks, params: Params, population: int
) -> tuple[Any, int]:
    """A function that draws all of it by queue, and how many bytes that takes."""
    queues, pairs = blocks.split(population // 2, 2)
    ids = jnp.arange(queues * pairs).reshape(queues, pairs)

    def draw(params: Params) -> Any:
        epoch = jnp.zeros((), jnp.int32)
        one = lambda p, ids: noises.draw(how, "float16", jax.random.key(1), p, epoch, ids)  # noqa: E731
        return blocks.map(one, params, ids, gather=False)

    shapes = jax.tree.leaves(jax.eval_shape(draw, params))
    return draw, sum(x.size * x.dtype.itemsize for x in shapes)


def _hows(params: dict[str, Any]) -> dict[str, noises.Perturbation | None]:
    """The variants in lanes: without noise, at every rank, and of full rank."""
    hows: dict[str, noises.Perturbation | None] = {"plain": None}
    hows |= {f"r={r}": noises.LowRank(r) for r in params["ranks"]}
    return hows | ({"full": noises.FullRank()} if params.get("full_rank", True) else {})


def forward(params: dict[str, Any]) -> dict[str, Any]:
    """Times `steps` passes of every variant.

    Args:
        params: `pop_size`, `width` (of three hidden layers), `ranks`, `steps`, `lanes`, `rounds`,
            `min_seconds`; optional: `full_rank` (False leaves it out).

    Returns:
        `samples` in seconds for all passes, `best plain` the faster of the two plain ones in each
        round; `values` by variant: why one is missing.
    """
    population, steps = params["pop_size"], params["steps"]
    policy = MLPPolicy(SPEC, Network((params["width"],) * 3, "pqn", 1.0))
    devices = len(jax.devices())
    blocks = Blocks(params["lanes"], devices)
    weights = jax.device_put(policy.init(jax.random.key(0)), blocks.replicated)
    x = jax.device_put(jax.random.normal(jax.random.key(2), (population, 1, 27)), blocks.replicated)
    here = jax.devices()[0]
    one = (jax.device_put(weights, here), jax.device_put(x, here))
    whole = Compiled(lambda w, x: _passes(lambda x: policy.apply(w, x), x, steps), *one, options={})
    variants: dict[str, Callable[[], object]] = {"plain, one batch": lambda: whole(*one)}
    values: dict[str, Any] = {}
    for name, how in _hows(params).items():
        noise: Any = None
        if how is not None:
            draw, size = _noise(how, blocks, weights, population)
            if size > MOST_NOISE_BYTES:
                values[name] = {"skipped": f"its noise takes {size / 2**30:.1f} GiB"}
                continue
            noise = Compiled(draw, weights)(weights)
        run = Compiled(in_queues(policy, blocks, how, population, steps), weights, x, noise)
        variants[name] = lambda run=run, noise=noise: run(weights, x, noise)  # type: ignore[misc]
    samples = interleaved(variants, params["rounds"], params["min_seconds"])
    both = zip(samples["plain"], samples["plain, one batch"], strict=True)
    samples["best plain"] = [min(pair) for pair in both]
    return {
        "samples": samples,
        "values": values | {"lanes": params["lanes"], "devices": devices},
    }
