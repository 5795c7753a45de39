"""The run: one loop that owns budget, clocks, evaluation and records, for every algorithm.

Compile ahead of time, evaluate, then update until the budget is reached, evaluating at equal
fractions of it. The clock of training runs during updates only; checkpoints have their own.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save

from rlbench import contract, meter
from rlbench.algorithm import AnyAlgorithm
from rlbench.arrays import state_hash
from rlbench.audit import miscount
from rlbench.checkpoint import Checkpoint, Checkpoints
from rlbench.errors import UsageError
from rlbench.finite import not_finite
from rlbench.fitting import GENERAL, Programs, smaller, too_large
from rlbench.hosts.team import Alone
from rlbench.memory import Room, resident_bytes
from rlbench.prepare import Prepared
from rlbench.progress import Progress
from rlbench.record_shape import COUNTS
from rlbench.state import restore_state, state_arrays
from rlbench.writer import RunWriter

ROW_SECONDS = 2.0
"""Training seconds that one row of update metrics covers, at least."""


class Run:
    """One run in progress."""

    def __init__(
        self,
        prepared: Prepared,
        writer: RunWriter,
        on_progress: Callable[[Progress], None],
        stopped: Callable[[], bool],
        team: Alone,
        checkpoints: Checkpoints | None,
    ) -> None:
        """Takes what was prepared; nothing is compiled yet.

        Args:
            prepared: from `prepare`.
            writer: of the run directory.
            on_progress: called at every change.
            stopped: asked after every update whether to end here.
            team: this process and the others.
            checkpoints: of the run directory; None where another process writes them.
        """
        self.prepared, self.checkpoints = prepared, checkpoints
        self.config, self.algorithm, self.task = (
            prepared.config,
            prepared.algorithm,
            prepared.task,
        )
        self.audit, self.most = prepared.audit, self.algorithm.env_steps_per_update(self.task)
        self.writer, self.on_progress = writer, on_progress
        self._signalled, self.team, self._agreed = stopped, team, False
        self.clocks = meter.Clocks()
        self.counts = dict.fromkeys(COUNTS, 0)
        self.last_return: float | None = None
        self._written, self._due = 0.0, 1

    def trace(self, found: Checkpoint | None) -> None:
        """Finds out what is to be compiled, by shapes alone.

        Args:
            found: where to go on.
        """
        if found:
            self.counts, self.clocks.seconds = found.record["counts"], found.record["clocks"]
            self.last_return = found.record["last_return"]
            self._written, self._due = found.record["written"], found.record["due"]
        self._tell("compiling")
        self.programs = self._programs(self.algorithm, self.clocks)

    def _programs(self, algorithm: AnyAlgorithm, clocks: meter.Clocks) -> Programs:
        seed, episodes = self.config.seed, self.config.eval_episodes
        return Programs(algorithm, self.task, seed, episodes, clocks)

    def begin(self, found: Checkpoint | None, checkpoint_seconds: float) -> None:
        """Makes the first state, or takes that of a checkpoint.

        Args:
            found: where to go on.
            checkpoint_seconds: least time between two checkpoints.
        """
        programs, put = self.programs, self.task.blocks.put
        with self.clocks.running("setup"):
            self.state = put(
                restore_state(programs.shapes, found.arrays) if found else programs.first()
            )
            keys = put(programs.keys())
        self._update = programs.update
        self._evaluate = lambda: programs.evaluate(self.state, keys)
        self._rss_after_compile = resident_bytes()
        self._checkpoint_seconds, self._saved = checkpoint_seconds, time.monotonic()

    def save(self) -> None:
        """Writes a checkpoint of this moment, between two updates."""
        if self.checkpoints is None:
            return
        with self.clocks.running("checkpoint"):
            record = {
                "counts": dict(self.counts),
                "clocks": dict(self.clocks.seconds),
                "last_return": self.last_return,
                "written": self._written,
                "due": self._due,
                **self.writer.sync(),
            }
            self.checkpoints.save(self.counts["updates"], state_arrays(self.state), record)
        self._saved = time.monotonic()

    def too_large(self, room: Room) -> str:
        """Why this run is not begun with so much memory, and what would be; empty if it fits."""
        what, wrong = too_large(self.programs, room)
        if what == "update" and self.team.count == 1:
            needed = self.programs.needed(room)
            make = partial(self._programs, clocks=meter.Clocks())
            return f"{wrong}; {smaller(self.algorithm, make, room, needed)}"
        if what == "update":  # several processes would all have to compile what is advised
            return f"{wrong}; {GENERAL}"
        return f"{wrong}; fewer --eval-episodes or a smaller network need less" if what else ""

    def skip(self, reason: str) -> None:
        """Records that the run was not begun."""
        self.writer.close()
        self.writer.status("skipped", reason)

    def stopped(self) -> bool:
        """Whether to end here; decided once an update where several processes must agree."""
        return self._signalled() if self.team.count == 1 else self._agreed

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

    def evaluate(self) -> str:
        """Plays the evaluation's episodes with the policy of this moment, and records them.

        Returns:
            What is wrong with the returns; empty if nothing is.
        """
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
        lost = len(returns) - int(np.isfinite(returns).sum())
        return f"{lost} of {len(returns)} returns of an evaluation are not finite" if lost else ""

    def train(self) -> tuple[str, str]:
        """Updates until the budget is reached, with evaluations on the way.

        Returns:
            (status, reason).
        """
        if not self.counts["updates"] and (wrong := self.evaluate()):
            return "diverged", wrong
        while self.fraction() < 1.0:
            metrics, wrong, lost = self.update()
            if wrong:
                return "failed", wrong
            if lost:
                self._write_metrics(metrics)
                return "diverged", lost
            halted = self.stopped() and self.fraction() < 1.0
            part = self.fraction() * self.config.evaluations
            reached = part >= self._due or self.fraction() >= 1.0
            if halted and not reached:
                self.save()  # before rows that a run which goes on would not have
            if halted or reached or self.clocks["train"] - self._written >= ROW_SECONDS:
                self._write_metrics(metrics)
            if halted or reached:
                if wrong := self.evaluate():
                    return "diverged", wrong
                self._due = int(part) + 1
            due_save = time.monotonic() - self._saved >= self._checkpoint_seconds
            if (reached and halted) or (due_save and not halted and self.fraction() < 1.0):
                self.save()
            if halted:
                return "interrupted", "stopped by a signal"
            self._tell("training")
        return "ok", ""

    def audited(self, status: str, reason: str) -> tuple[str, str]:
        """The outcome, unless one more update of somebody's code miscounts its steps now."""
        if self.audit is None or status != "ok":
            return status, reason
        try:
            self.audit(self.state)
        except UsageError as error:
            return "failed", f"after the last update: {error}"
        return status, reason

    def update(self) -> tuple[dict[str, Any], str, str]:
        """One timed update; its metrics, what is wrong with its counts, and what diverged."""
        with self.clocks.running("train"):
            self.state, metrics = self._update(self.state)
            wish = self.team.hear(self.team.count > 1 and self._signalled())
        self._agreed, self.clocks.seconds["train"] = self.team.tell(wish, self.clocks["train"])
        self.counts["updates"] += 1
        simulated, live = (
            int(np.asarray(metrics.pop(name)).sum(dtype=np.int64)) for name in contract.COUNTS
        )
        self.counts["simulated_env_steps"] += simulated
        self.counts["live_env_steps"] += live
        wrong = miscount(simulated, live, self.most)
        told = f"update {self.counts['updates']} of {self.config.algo} {wrong}" if wrong else ""
        flags = np.asarray(metrics.pop("finite")).tolist()
        values = {k: v.item() for k, v in metrics.items()}
        lost = not_finite(self.programs.names, flags, values)
        if lost:
            lost = f"in update {self.counts['updates']} {lost} became NaN or infinite"
        return values, told, lost

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
            checkpoint_seconds=self.clocks["checkpoint"],
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
        if self.checkpoints and status == "ok":
            self.checkpoints.remove()
