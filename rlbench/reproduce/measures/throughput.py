"""Forward passes of a population through one linear layer, beside one GEMM on as large a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlbench.agents import _perturbation as noises
from rlbench.bench.timing import interleaved
from rlbench.meter import Compiled
from rlbench.reproduce.measures import _layer
from rlbench.reproduce.measures._layer import Form, Layer

CHECKED = 4
"""Members whose outputs are held against those of explicitly perturbed matrices."""


def variants(layer: Layer, rank: int) -> dict[str, tuple[Form, str]]:
    """By name: the form, and what it takes for noise."""
    low, full = noises.LowRank(rank), noises.FullRank()
    return {
        "inference": (_layer.inference, "none"),
        "eggroll": (_layer.perturbed(low), "low"),
        "eggroll_fly": (layer.drawing(low), "generation"),
        "ppo": (_layer.backpropagation, "gradient"),
        "open_es_shared": (_layer.perturbed(full), "full"),
        "open_es_shared_fly": (layer.drawing(full), "generation"),
        "open_es_built": (_layer.built, "full of members"),
        "open_es_built_fly": (layer.drawing_built, "generation"),
    }


def noise_of(layer: Layer, what: str, members: int, rank: int) -> Any:
    """What a form takes, for so many members, drawn before it is timed."""
    if what in ("low", "full", "full of members"):
        how = noises.LowRank(rank) if what == "low" else noises.FullRank()
        drawn = jax.jit(lambda: layer.slots(how, layer.key(), members))()
        return _layer.by_member(drawn) if what == "full of members" else drawn
    if what == "gradient":
        return layer.inputs(members, stream=3)
    return jnp.zeros((), jnp.int32)


def explicit(layer: Layer, how: noises.Perturbation, members: int) -> Any:
    """Outputs of the first members by matrices perturbed one by one, in float64: (members, m)."""
    w, x = (np.asarray(a, np.float64) for a in (layer.weights(), layer.inputs(members)))
    noise = jax.tree.map(
        lambda e: np.asarray(e, np.float64), layer.draw(how, layer.key(), members // 2)
    )
    outputs = []
    for member, by in enumerate(np.asarray(_layer.signs(members), np.float64)):
        if isinstance(how, noises.LowRank):
            e = noise.b[member // 2].T @ noise.a[member // 2] / np.sqrt(how.rank)
        else:
            e = noise[member // 2]
        outputs.append(x[member] @ (w + by * e))
    return np.array(outputs)


def errors(layer: Layer, rank: int) -> dict[str, float]:
    """By variant: the largest error of an output, relative to the outputs' root mean square."""
    truth = {
        "eggroll": explicit(layer, noises.LowRank(rank), CHECKED),
        "open_es": explicit(layer, noises.FullRank(), CHECKED),
    }
    found = {}
    for name, (form, what) in variants(layer, rank).items():
        kind = next((kind for kind in truth if name.startswith(kind)), None)
        if kind is None:
            continue
        w, x = layer.weights(), layer.inputs(CHECKED)
        outputs = jax.jit(form)(w, x, noise_of(layer, what, CHECKED, rank))[1]
        error = np.abs(np.asarray(outputs, np.float64) - truth[kind])
        found[name] = float(error.max() / np.sqrt(np.mean(truth[kind] ** 2)))
    return found


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Times `passes` passes of every variant.

    Args:
        params: `width`, `dtype`, `noise_dtype`, `pop_size`, `rank`, `seed`; `full_members` and
            `full_fly_members`: how many members the full-rank variants have, as each costs the
            same; `passes`, `rounds`, `min_seconds`.

    Returns:
        `samples` in seconds for all passes; `values`: `members` and `errors` by variant, and the
        `platform`.
    """
    layer = Layer(params["width"], params["dtype"], params["noise_dtype"], params["seed"])
    calls: dict[str, Callable[[], object]] = {}
    counts = {}
    for name, (form, what) in variants(layer, params["rank"]).items():
        members = params["pop_size"]
        if name.startswith("open_es"):
            members = params["full_fly_members" if name.endswith("fly") else "full_members"]
        given = (
            layer.weights(),
            layer.inputs(members),
            noise_of(layer, what, members, params["rank"]),
        )
        run = Compiled(_layer.repeated(form, params["passes"]), *given)
        calls[name] = lambda run=run, given=given: run(*given)  # type: ignore[misc]
        counts[name] = members
    return {
        "samples": interleaved(calls, params["rounds"], params["min_seconds"]),
        "values": {
            "members": counts,
            "errors": errors(layer, params["rank"]),
            "platform": jax.default_backend(),
        },
    }
