"""Seconds of one EGGROLL generation, for one population and one number of devices a process."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from rlbench import meter
from rlbench.bench import setup
from rlbench.bench.timing import interleaved
from rlbench.finite import update_function
from rlbench.prepare import Prepared
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


class Tally:
    """Calls a generation and keeps the mean of its env steps, which differ between generations."""

    def __init__(self, generation: Callable[[], dict[str, Any]]) -> None:
        """Takes what runs one generation, waits for it and returns its metrics."""
        self._generation = generation
        self._calls = 0
        self._total: dict[str, int] = {}

    def __call__(self) -> None:
        """Runs one generation."""
        metrics = self._generation()
        self._calls += 1
        for name in ("simulated_env_steps", "live_env_steps"):
            if name in metrics:
                # A sum, as a large count may come in parts that each fit 32 bits.
                steps = int(np.asarray(metrics[name]).sum(dtype=np.int64))
                self._total[name] = self._total.get(name, 0) + steps

    def steps(self) -> dict[str, float]:
        """Simulated and live env steps of a generation, as far as its metrics had them."""
        return {name: total / self._calls for name, total in self._total.items()}


def scaling(params: dict[str, Any]) -> dict[str, Any]:
    """Times eggroll.

    Args:
        params: `env`, `pop_size`, `rounds`, `min_seconds`; optional: `horizon`, `host_devices`.

    Returns:
        `samples` in seconds a generation; `values`: its env steps, the update's buffers and the
        process's peak.
    """
    run = setup.prepared(params, "eggroll")
    call, update = stepper(run)
    generation = Tally(call)
    samples = interleaved({"eggroll": generation}, params["rounds"], params["min_seconds"])
    return {
        "samples": samples,
        "values": {
            **generation.steps(),
            "devices": run.task.blocks.devices,
            "update_buffer_bytes": update.buffer_bytes(),
            "peak_rss_bytes": meter.peak_resident_bytes(),
        },
    }
