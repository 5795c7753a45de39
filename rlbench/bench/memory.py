"""Bytes that XLA assigns to one update: arguments, results and temporaries. Nothing is run."""

from typing import Any

import jax

from rlbench import meter
from rlbench.bench import naive, setup
from rlbench.finite import update_function
from rlbench.seeding import run_streams


def memory(params: dict[str, Any]) -> dict[str, Any]:
    """Buffers of an update of eggroll, open_es and the naive ES.

    Args:
        params: `env`, `pop_size`.

    Returns:
        `samples` in bytes, one a variant: compiled twice, they are the same.
    """
    ours = {algo: setup.prepared(params, algo) for algo in ("eggroll", "open_es")}
    # A program read back from the cache does not tell its temporaries on every backend.
    jax.config.update("jax_enable_compilation_cache", False)
    compiled = {}
    for name, run in ours.items():
        state = jax.eval_shape(lambda run=run: run.algorithm.init(run.task, run_streams(0)))
        update = update_function(run.algorithm, run.task)
        compiled[name] = meter.Compiled(update, _on(state, run.task.blocks.replicated), donate=True)
    task = ours["eggroll"].task
    init, step = naive.generation(
        task,
        params["pop_size"],
        setup.SIGMA,
        setup.LEARNING_RATE,
        setup.horizon_of(params),
    )
    compiled["naive"] = meter.Compiled(
        step, jax.eval_shape(lambda: init(run_streams(0))), donate=True
    )
    found = {name: each.buffer_bytes() for name, each in compiled.items()}
    if None in found.values():
        return {"skipped": "this backend does not tell the sizes of a program's buffers"}
    return {"samples": {name: [size] for name, size in found.items()}, "values": {}}


def _on(state: Any, sharding: Any) -> Any:
    """Shapes with the sharding that a run's state has."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state)
