"""Bytes of a pair's noise, and the memory of a process that runs a generation."""

import time
from typing import Any

import jax
import jax.numpy as jnp

from rlbench import meter
from rlbench.agents import _perturbation as noises
from rlbench.bench import naive, setup
from rlbench.bench.scaling import stepper
from rlbench.memory import resident_bytes
from rlbench.seeding import run_streams
from rlbench.types import Key, Params


def _noise(params: dict[str, Any]) -> dict[str, Any]:
    """Bytes of one pair's noise: of single matrices, and of the network of an environment."""
    run = setup.prepared({**params, "pop_size": 2}, "eggroll")
    network = jax.eval_shape(run.task.policy.init, jax.random.key(0))
    hows: dict[str, noises.Perturbation] = {f"r={r}": noises.LowRank(r) for r in params["ranks"]}
    hows["full"] = noises.FullRank()
    matrices = []
    for shape in params["shapes"]:

        def init(key: Key, shape: tuple[int, ...] = tuple(shape)) -> Params:
            return {"w": jnp.zeros(shape)}

        by_how = {k: noises.bytes_of_pair(h, params["noise_dtype"], init) for k, h in hows.items()}
        matrices.append({"shape": list(shape), "bytes": by_how})
    whole = {
        name: noises.bytes_of_pair(how, params["noise_dtype"], run.task.policy.init)
        for name, how in hows.items()
    }
    return {
        "samples": {},
        "values": {
            "matrices": matrices,
            "network": {
                "shapes": [list(leaf.shape) for leaf in jax.tree.leaves(network)],
                "bytes": whole,
            },
            "bytes_per_number": jnp.dtype(params["noise_dtype"]).itemsize,
        },
    }


def _resident(params: dict[str, Any]) -> dict[str, Any]:
    """The process's resident set before and at most after one generation, compiled before."""
    if params["algo"] == "naive":
        task = setup.prepared(params, "open_es").task
        init, step = naive.generation(
            task,
            params["pop_size"],
            setup.SIGMA,
            setup.LEARNING_RATE,
            setup.horizon_of(params),
        )
        state = init(run_streams(0))
        run = meter.Compiled(step, state, donate=True)
        before, start = resident_bytes(), time.perf_counter()
        run(state)
    else:
        generation, _ = stepper(setup.prepared(params, params["algo"]))
        before, start = resident_bytes(), time.perf_counter()
        generation()
    seconds = time.perf_counter() - start
    # The system brings its record of the peak up to date a little late.
    return {
        "samples": {"peak": [max(before, meter.peak_resident_bytes())]},
        "values": {"before": before, "seconds": seconds},
    }


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Counts or measures bytes.

    Args:
        params: `what`: "noise", with `env`, `shapes` (of matrices), `ranks`, `noise_dtype`; or
            "resident", with `algo` (naive, or an ES of ours), `env`, `pop_size`, `horizon`. Both
            optionally with `network`.

    Returns:
        For "noise", `values` by matrix and of the network; for "resident", `samples` of "peak" in
        bytes, and `values` with the bytes before.
    """
    return _noise(params) if params["what"] == "noise" else _resident(params)
