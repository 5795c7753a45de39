"""Seconds of one EGGROLL generation, for one population and one number of devices a process."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from rlbench import meter
from rlbench.bench import setup
from rlbench.bench.timing import interleaved
from rlbench.runner import Prepared, update_function
from rlbench.seeding import run_streams


def stepper(run: Prepared) -> tuple[Callable[[], Any], meter.Compiled]:
    """A call that runs the next generation, compiled as a run compiles it, and its program."""
    initial = run.algorithm.init(run.task, run_streams(0))
    state = jax.device_put(initial, run.task.blocks.replicated)
    update = meter.Compiled(update_function(run.algorithm, run.task), state, donate=True)

    def call() -> Any:
        nonlocal state
        state, metrics = update(state)
        return metrics

    return call, update


def steps_of(metrics: dict[str, Any]) -> dict[str, int]:
    """Simulated and live env steps of a generation, as far as its metrics have them."""
    names = ("simulated_env_steps", "live_env_steps")
    # A sum, as a large count may come in parts that each fit 32 bits.
    return {name: int(np.sum(metrics[name], dtype=np.int64)) for name in names if name in metrics}


def scaling(params: dict[str, Any]) -> dict[str, Any]:
    """Times eggroll.

    Args:
        params: `env`, `pop_size`, `rounds`, `min_seconds`; optional: `horizon`, `host_devices`.

    Returns:
        `samples` in seconds a generation; `values` with the last one's env steps, the update's
        buffers and the process's peak.
    """
    run = setup.prepared(params, "eggroll")
    call, update = stepper(run)
    last: dict[str, Any] = {}

    def generation() -> None:
        last.update(call())

    samples = interleaved({"eggroll": generation}, params["rounds"], params["min_seconds"])
    return {
        "samples": samples,
        "values": {
            **steps_of(last),
            "devices": run.task.blocks.devices,
            "update_buffer_bytes": update.buffer_bytes(),
            "peak_rss_bytes": meter.peak_resident_bytes(),
        },
    }
