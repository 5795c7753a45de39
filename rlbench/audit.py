"""The env's own count of its steps, to hold an algorithm's reports against.

An update is compiled once more around an environment that counts on the host how often it was
stepped, lanes of a batch one by one. That is slow, so ours are audited by the tests, and those of
others at a run's first update and at its end.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from rlbench import meter
from rlbench.algorithm import AnyAlgorithm, Task
from rlbench.contract import COUNTS, ContractError, guarded
from rlbench.env import AnyEnv, TimeStep
from rlbench.plugins import Plugin
from rlbench.types import Action, Key, Obs


class Tally:
    """Counts on the host how often a compiled program passes a place."""

    def __init__(self) -> None:
        """Starts at 0."""
        self.count = 0

    def mark(self, lane: Bool[Array, ""], lanes: int = 1) -> Bool[Array, ""]:
        """The argument, unchanged; each time that it is computed, so many more are counted."""

        def add() -> None:
            self.count += lanes

        @jax.custom_batching.custom_vmap
        def counted(lane: Array) -> Array:
            jax.debug.callback(add)
            return lane

        @counted.def_vmap
        def batched(size: int, _: Any, lane: Array) -> tuple[Array, bool]:
            # One call a batch: a callback under vmap would be one a lane.
            return self.mark(lane, lanes * size), True

        marked: Array = counted(lane)
        return marked


def _lane(tree: Any) -> Bool[Array, ""]:
    """A truth that is batched if any part of the tree is."""
    words = [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        for x in map(jnp.asarray, jax.tree.leaves(tree))
    ]
    return jnp.any(jnp.stack([jnp.any(x != 0) for x in words]))


class CountingEnv:
    """The environment, with every step counted."""

    def __init__(self, env: AnyEnv, tally: Tally) -> None:
        """Wraps it."""
        self._env, self._tally = env, tally
        self.spec = env.spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def reset(self, key: Key) -> tuple[Any, Obs]:
        """As it was."""
        return self._env.reset(key)

    def step(self, key: Key, state: Any, action: Action) -> tuple[Any, TimeStep]:
        """As it was, and counted."""
        after, now = self._env.step(key, state, action)
        # By what goes in: an environment whose every step ends has nothing that differs by lane.
        marked = self._tally.mark(_lane((key, state, action)))
        return after, now._replace(terminated=jnp.where(marked, now.terminated, now.terminated))


def miscount(simulated: int, live: int, most: int) -> str | None:
    """What cannot be right about an update's report, whatever was played; None if it can."""
    if simulated < 1:
        return f"reported {simulated:,} simulated env steps for an update"
    if simulated > most:
        return (
            f"reported {simulated:,} simulated env steps for an update, more than the {most:,} of "
            "its env_steps_per_update"
        )
    if not 0 <= live <= simulated:
        return f"reported {live:,} live env steps of {simulated:,} simulated ones"
    return None


def not_finite(tree: Any) -> str | None:
    """The first array that holds NaN or infinity, by its path; None if there is none."""
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.issubdtype(x.dtype, jnp.floating) and not np.all(np.isfinite(np.asarray(x))):
            return jax.tree_util.keystr(path, simple=True, separator=".") or "it"
    return None


class Audit:
    """One update of an algorithm, compiled with a counting environment."""

    def __init__(
        self, algorithm: AnyAlgorithm, task: Task, who: str, plugin: Plugin | None = None
    ) -> None:
        """Nothing is compiled yet.

        Args:
            algorithm: whose reports are checked.
            task: where it learns; on one device here.
            who: how a complaint begins.
            plugin: whose code it is, if not ours.
        """
        self.algorithm, self.who, self.plugin = algorithm, who, plugin
        self.tally = Tally()
        blocks = replace(task.blocks, devices=1)
        self.task = Task(CountingEnv(task.env, self.tally), task.policy, blocks)
        self._compiled: meter.Compiled | None = None

    def __call__(self, state: Any) -> tuple[Any, dict[str, Any]]:
        """Makes one update and checks what it reports.

        Returns:
            The new state, and the metrics without the counts.

        Raises:
            ContractError: the counts are not the environment's, or something is not finite.
        """
        state = self.task.blocks.put(state)
        return guarded(self.who, self.plugin, "`step`", lambda: self._checked(state))  # type: ignore[no-any-return]

    def _checked(self, state: Any) -> tuple[Any, dict[str, Any]]:
        if self._compiled is None:
            self._compiled = meter.Compiled(lambda s: self.algorithm.step(self.task, s), state)
        self.tally.count = 0
        new, metrics = self._compiled(state)
        jax.effects_barrier()
        simulated, live = (int(np.asarray(metrics.pop(n)).sum(dtype=np.int64)) for n in COUNTS)
        if simulated != self.tally.count:
            raise ContractError(
                f"{self.who} reported {simulated:,} simulated env steps for an update in which the "
                f"environment was stepped {self.tally.count:,} times"
            )
        wrong = miscount(simulated, live, self.algorithm.env_steps_per_update(self.task))
        if wrong:
            raise ContractError(f"{self.who} {wrong}")
        where = not_finite(new) or not_finite(metrics)
        if where:
            raise ContractError(f"{self.who} made {where} NaN or infinite in one update")
        return new, metrics
