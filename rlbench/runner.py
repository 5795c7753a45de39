"""The run: one loop that owns budget, clocks, evaluation and records, for every algorithm.

Compile ahead of time, evaluate, then update until the budget is reached, evaluating at equal
fractions of it. The clock of training runs during updates only.
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save

from rlbench import machine, meter, store
from rlbench.algorithm import AnyAlgorithm, Task, evaluate
from rlbench.blocks import Blocks
from rlbench.config import RunConfig, build
from rlbench.errors import UsageError
from rlbench.policy import MLPPolicy
from rlbench.progress import Progress
from rlbench.registry import find_agent, find_env, make_env, resolve
from rlbench.seeding import check_generator, evaluation_keys, run_streams
from rlbench.state import state_arrays, state_hash
from rlbench.watchdog import Watchdog

EVAL_LANES = 32
"""Lanes of an evaluation block: fixed, so that its bits do not depend on the machine."""
CACHE_BYTES = 1 << 22
"""What a CPU device's lanes may read of their own at every step; measured with OpenES (3x256,
AMD EPYC with 1 MiB of L2 a core and 32 MiB of L3): 4 MiB are as fast as 1, and 8 a third slower."""
ROW_SECONDS = 2.0
"""Training seconds that one row of update metrics covers, at least."""


@dataclass(frozen=True)
class Prepared:
    """A run whose every setting has been checked, before anything is written or compiled."""

    config: RunConfig
    algorithm: AnyAlgorithm
    task: Task


def prepare(config: RunConfig) -> Prepared:
    """Builds environment, network and algorithm.

    Raises:
        UsageError: a setting is wrong, or the budget is smaller than one update.
    """
    check_generator()
    agent = find_agent(config.algo)
    algorithm = build(resolve(agent.make), config.settings, f"setting of {agent.name}")
    env = make_env(find_env(config.env))
    devices = config.host_devices if config.device == "cpu" else 1
    used = min(devices, len(jax.devices()))
    cache_bytes = CACHE_BYTES if config.device == "cpu" else 0
    blocks = Blocks(
        config.block_lanes, used, config.queues, config.reduction, cache_bytes=cache_bytes
    )
    task = Task(env, MLPPolicy(env.spec, config.network), blocks)
    most = algorithm.env_steps_per_update(task)
    if config.budget_env_steps is not None and config.budget_env_steps < most:
        raise UsageError(
            f"budget {config.budget_env_steps:,} env steps is smaller than one update, which "
            f"takes up to {most:,} here; raise --budget or make the update smaller"
        )
    return Prepared(config, algorithm, task)


def update_function(algorithm: AnyAlgorithm, task: Task) -> Callable[[Any], Any]:
    """One update of any algorithm, with a check that its state stayed finite."""

    def update(state: Any) -> Any:
        state, metrics = algorithm.step(task, state)
        numbers = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
        finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in numbers] or [True]))
        return state, metrics | {"finite": finite}

    return update


class Run:
    """One run in progress."""

    def __init__(
        self,
        prepared: Prepared,
        writer: store.RunWriter,
        on_progress: Callable[[Progress], None],
        stopped: Callable[[], bool],
    ) -> None:
        """Takes what was prepared; nothing is compiled yet."""
        self.config, self.algorithm, self.task = (
            prepared.config,
            prepared.algorithm,
            prepared.task,
        )
        self.writer, self.on_progress, self.stopped = writer, on_progress, stopped
        self.clocks = meter.Clocks()
        self.counts = dict.fromkeys(
            ("updates", "simulated_env_steps", "live_env_steps", "eval_env_steps"), 0
        )
        self.last_return: float | None = None
        self._written = 0.0

    def compile(self) -> None:
        """Makes the first state, and compiles update and evaluation."""
        self._tell("compiling")
        here = self.task.blocks.replicated
        with self.clocks.running("setup"):
            initial = self.algorithm.init(self.task, run_streams(self.config.seed))
            self.state = jax.device_put(initial, here)
            keys = jax.device_put(evaluation_keys(self.config.eval_episodes), here)
        with self.clocks.running("compile"):
            update = update_function(self.algorithm, self.task)
            self._update = meter.Compiled(update, self.state, donate=True)
        calm = Task(self.task.env, self.task.policy, Blocks(EVAL_LANES, self.task.blocks.devices))
        with self.clocks.running("eval_compile"):
            play = meter.Compiled(
                lambda state, keys: evaluate(self.algorithm, calm, state, keys), self.state, keys
            )
        self._evaluate = lambda: play(self.state, keys)
        self._rss_after_compile = meter.resident_bytes()

    def fraction(self) -> float:
        """How much of the budget is spent: the nearer of the two limits."""
        steps, seconds = self.config.budget_env_steps, self.config.budget_seconds
        return max(
            self.counts["simulated_env_steps"] / steps if steps else 0.0,
            self.clocks["train"] / seconds if seconds else 0.0,
        )

    def _tell(self, phase: Literal["compiling", "evaluating", "training"]) -> None:
        steps = self.counts["simulated_env_steps"]
        self.on_progress(
            Progress(phase, self.fraction(), steps, self.clocks["train"], self.last_return)
        )

    def evaluate(self) -> None:
        """Plays the evaluation's episodes with the policy of this moment, and records them."""
        self._tell("evaluating")
        with self.clocks.running("eval"):
            episodes = self._evaluate()
            returns = np.asarray(episodes.returns).tolist()
        self.counts["eval_env_steps"] += int(np.asarray(episodes.simulated).sum(dtype=np.int64))
        self.last_return = float(np.mean(returns))
        self.writer.row(
            "evaluation",
            **self._totals(),
            return_mean=self.last_return,
            return_std=float(np.std(returns)),
            returns=returns,
            lengths=np.asarray(episodes.lengths).tolist(),
        )

    def train(self) -> tuple[str, str]:
        """Updates until the budget is reached, with evaluations on the way.

        Returns:
            (status, reason).
        """
        due, every = 1, self.config.evaluations
        self.evaluate()
        while self.fraction() < 1.0:
            metrics = self.update()
            if not metrics.pop("finite"):
                self._write_metrics(metrics)
                reason = f"the state became NaN or infinite in update {self.counts['updates']}"
                return "diverged", reason
            last = self.stopped() or self.fraction() >= 1.0
            reached = self.fraction() * every >= due
            if last or reached or self.clocks["train"] - self._written >= ROW_SECONDS:
                self._write_metrics(metrics)
            if last or reached:
                self.evaluate()
                due = int(self.fraction() * every) + 1
            if self.stopped():
                return "interrupted", "stopped by a signal"
            self._tell("training")
        return "ok", ""

    def update(self) -> dict[str, Any]:
        """One timed update; its metrics."""
        with self.clocks.running("train"):
            self.state, metrics = self._update(self.state)
        self.counts["updates"] += 1
        for name in ("simulated_env_steps", "live_env_steps"):
            self.counts[name] += int(np.asarray(metrics.pop(name)).sum(dtype=np.int64))
        return {k: v.item() for k, v in metrics.items()}

    def _write_metrics(self, metrics: dict[str, Any]) -> None:
        self._written = self.clocks["train"]
        self.writer.row("updates", **self._totals(), **metrics)

    def _totals(self) -> dict[str, Any]:
        return {
            **self.counts,
            "train_seconds": self.clocks["train"],
            "eval_seconds": self.clocks["eval"],
        }

    def finish(self, status: str, reason: str) -> None:
        """Writes the final state and the totals."""
        arrays = state_arrays(self.state)
        self.writer.file("policy.safetensors", save(arrays))
        steps = self.config.budget_env_steps
        overshoot = max(0, self.counts["simulated_env_steps"] - steps) if steps else None
        self.writer.close()
        self.writer.status(
            status,
            reason,
            **self._totals(),
            compile_seconds=self.clocks["compile"],
            eval_compile_seconds=self.clocks["eval_compile"],
            setup_seconds=self.clocks["setup"],
            overshoot_env_steps=overshoot,
            return_mean=self.last_return,
            state_sha256=state_hash(arrays),
            memory={
                "update_buffer_bytes": self._update.buffer_bytes(),
                "device_peak_bytes": meter.device_peak_bytes(),
                "rss_after_compile_bytes": self._rss_after_compile,
                "peak_rss_bytes": meter.peak_resident_bytes(),
            },
        )


STALLED = (
    "no progress and no processor time for a minute: XLA's thread pool is probably deadlocked; "
    "run again with --host-devices 1"
)


def run(
    prepared: Prepared,
    path: Path,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
) -> store.RunRecord:
    """Runs what was prepared and records it in `path`.

    Args:
        prepared: from `prepare`.
        path: the run directory, replaced if it exists.
        on_progress: called at every change.
        stopped: asked after every update whether to end here.

    Returns:
        The run directory, read back.
    """
    writer = store.RunWriter(path, prepared.config, machine.provenance())
    current = Run(prepared, writer, on_progress, stopped)

    def stalled() -> None:
        writer.status("failed", STALLED)
        os.write(2, f"rlbench: {STALLED}\n".encode())
        os._exit(3)  # the main thread cannot be interrupted inside XLA

    try:
        current.compile()
        # On an accelerator an idle processor is what one hopes for.
        with Watchdog(stalled) if prepared.config.device == "cpu" else nullcontext():
            status, reason = current.train()
        current.finish(status, reason)
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        writer.close()
        writer.status(
            "interrupted" if interrupted else "failed", f"{type(error).__name__}: {error}"
        )
        raise
    return store.read_run(path)
