"""Flop/s of one layer against the batch, the machine's two roofs, and XLA's own counts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rlbench.agents import _perturbation as noises
from rlbench.bench.timing import interleaved
from rlbench.meter import Compiled
from rlbench.reproduce.measures import _layer
from rlbench.reproduce.measures._layer import Form, Layer

PASSES = 16
"""Of a stream through memory in one program, which allocates once."""


def triad(b: Array, a: Array, noise: Any) -> tuple[Array, Array]:
    """STREAM's, in place: two arrays are read and one is written."""
    return b, b + 0.5 * a


def cache_bytes() -> int:
    """The first core's largest cache as Linux tells it, or 0."""
    found = [0]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        found.append(int(text[:-1]) << {"K": 10, "M": 20}[text[-1]])
    return max(found)


def roofs(
    layer: Layer, peak_width: int, stream_bytes: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Programs that reach for the roofs, and the flops or bytes of a call of each.

    Args:
        layer: whose numbers they are of.
        peak_width: of the three square matrices of a GEMM.
        stream_bytes: of an array that is streamed.
    """
    square = jnp.ones((peak_width, peak_width), layer.dtype)
    size = stream_bytes // jnp.dtype(layer.dtype).itemsize
    a, b = jnp.zeros(size, layer.dtype), jnp.ones(size, layer.dtype)
    nothing = jnp.zeros(())
    gemm = Compiled(lambda x: x @ x, square)
    stream = Compiled(_layer.repeated(triad, PASSES), b, a, nothing)
    read = Compiled(jnp.sum, b)
    calls = {
        "gemm": lambda: gemm(square),
        "triad": lambda: stream(b, a, nothing),
        "read": lambda: read(b),
    }
    works = {"gemm": 2 * peak_width**3, "triad": 3 * PASSES * a.nbytes, "read": b.nbytes}
    return calls, works


def forms(layer: Layer, params: dict[str, Any]) -> dict[str, tuple[Form, int, Any]]:
    """By variant: the form, its batch, and its noise."""
    found: dict[str, tuple[Form, int, Any]] = {}
    for batch in params["batches"]:
        found[f"inference {batch}"] = (_layer.inference, batch, jnp.zeros(()))
        for rank in params["ranks"]:
            how = noises.LowRank(rank)
            noise = jax.jit(layer.draw, static_argnums=(0, 2))(how, layer.key(), batch)
            found[f"eggroll r={rank} {batch}"] = (_layer.perturbed(how), batch, noise)
    for batch in params["full_batches"]:
        found[f"es {batch}"] = (_layer.own_matrices, batch, matrices(layer, batch))
    return found


def matrices(layer: Layer, count: int) -> Array:
    """So many of full rank, (count, m, m), drawn one after the other: a draw takes much memory."""

    def one(key: Array) -> Array:
        drawn: Array = layer.draw(noises.FullRank(), key, 1)[0]
        return drawn

    keys = jax.random.split(layer.key(), count)
    return jnp.asarray(jax.jit(lambda: jax.lax.map(one, keys))())


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Times one pass for every variant, and what the machine can do at best.

    Args:
        params: `width`, `dtype`, `ranks`, `batches`, `full_batches` (of members with a matrix
            each), `peak_width`, `stream_bytes`, `seed`, `rounds`, `min_seconds`.

    Returns:
        `samples` in seconds by "FORM BATCH" and of the roofs; `values`: `work` (flops of "gemm",
        bytes of "triad" and "read"), `xla` (its flops and bytes by variant), `cache_bytes`,
        `bytes_per_number`.
    """
    layer = Layer(params["width"], params["dtype"], params["dtype"], params["seed"])
    calls: dict[str, Callable[[], object]]
    calls, work = roofs(layer, params["peak_width"], params["stream_bytes"])
    xla = {}
    w = layer.weights()
    for name, (form, batch, noise) in forms(layer, params).items():
        given = (w, layer.inputs(batch), noise)
        run = Compiled(lambda w, x, e, form=form: form(w, x, e)[1], *given)
        calls[name] = lambda run=run, given=given: run(*given)  # type: ignore[misc]
        count = run.cost()
        xla[name] = {"flops": count.get("flops"), "bytes": count.get("bytes accessed")}
    return {
        "samples": interleaved(calls, params["rounds"], params["min_seconds"]),
        "values": {
            "work": work,
            "xla": xla,
            "cache_bytes": cache_bytes(),
            "bytes_per_number": jnp.dtype(layer.dtype).itemsize,
            "platform": jax.default_backend(),
        },
    }
