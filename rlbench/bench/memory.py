"""Bytes that XLA assigns to one update: arguments, results and temporaries. Nothing is run."""

from typing import Any

import jax

from rlbench import meter
from rlbench.algorithm import Task
from rlbench.bench import naive, setup
from rlbench.finite import update_function
from rlbench.prepare import Prepared
from rlbench.seeding import run_streams


def update_bytes(run: Prepared) -> int | None:
    """Of an update of ours, or None where XLA does not tell."""
    state = jax.eval_shape(lambda: run.algorithm.init(run.task, run_streams(0)))
    update = update_function(run.algorithm, run.task)
    here = _on(state, run.task.blocks.replicated)
    return meter.Compiled(update, here, donate=True).buffer_bytes()


def naive_bytes(params: dict[str, Any], task: Task) -> int | None:
    """Of a generation of the naive ES, or None where XLA does not tell."""
    horizon = setup.horizon_of(params)
    init, step = naive.generation(
        task, params["pop_size"], setup.SIGMA, setup.LEARNING_RATE, horizon
    )
    state = jax.eval_shape(lambda: init(run_streams(0)))
    return meter.Compiled(step, state, donate=True).buffer_bytes()


def memory(params: dict[str, Any]) -> dict[str, Any]:
    """Buffers of an update of eggroll, open_es and the naive ES.

    Args:
        params: `env`, `pop_size`; optional: `ranks`, of eggroll: variants "eggroll r=RANK" instead
            of one at rank 1.

    Returns:
        `samples` in bytes, one a variant: compiled twice, they are the same.
    """
    ranks = params.get("ranks")
    ours = {f"eggroll r={r}": setup.prepared(params, "eggroll", rank=r) for r in ranks or ()}
    ours = ours or {"eggroll": setup.prepared(params, "eggroll")}
    ours["open_es"] = setup.prepared(params, "open_es")
    # A program read back from the cache does not tell its temporaries on every backend.
    jax.config.update("jax_enable_compilation_cache", False)
    found = {name: update_bytes(run) for name, run in ours.items()}
    found["naive"] = naive_bytes(params, ours["open_es"].task)
    if None in found.values():
        return {"skipped": "this backend does not tell the sizes of a program's buffers"}
    return {"samples": {name: [size] for name, size in found.items()}, "values": {}}


def _on(state: Any, sharding: Any) -> Any:
    """Shapes with the sharding that a run's state has."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state)
