"""From a complete configuration to a run that can start: everything is built, and checked."""

from dataclasses import dataclass

import jax

from rlbench import contract
from rlbench.algorithm import AnyAlgorithm, Task
from rlbench.audit import Audit
from rlbench.blocks import Blocks
from rlbench.config import RunConfig
from rlbench.env import AnyEnv
from rlbench.errors import BudgetError
from rlbench.plugins import Plugin
from rlbench.policy import MLPPolicy
from rlbench.registry import find_agent, find_env
from rlbench.seeding import check_generator, run_streams
from rlbench.testing.envs import Environment, finite

CACHE_BYTES = 1 << 22
"""What a CPU device's lanes may read of their own at every step; measured with OpenES (3x256,
AMD EPYC with 1 MiB of L2 a core and 32 MiB of L3): 4 MiB are as fast as 1, and 8 a third slower."""


@dataclass(frozen=True)
class Prepared:
    """A run whose every setting has been checked, before anything is written.

    Attributes:
        config: what was asked for.
        algorithm: the agent with its settings.
        task: where it learns.
        plugins: what of it is not ours.
        audit: counts an update's env steps, where any of it is not ours.
    """

    config: RunConfig
    algorithm: AnyAlgorithm
    task: Task
    plugins: tuple[Plugin, ...] = ()
    audit: Audit | None = None


def task_of(config: RunConfig, env: AnyEnv) -> Task:
    """Where the algorithm learns, on as many devices as there are, those of other processes too."""
    cpu = config.device == "cpu"
    used = min(config.host_devices if cpu else 1, jax.local_device_count()) * jax.process_count()
    blocks = Blocks(
        config.block_lanes,
        used,
        config.queues,
        config.reduction,
        cache_bytes=CACHE_BYTES if cpu else 0,
    )
    return Task(env, MLPPolicy(env.spec, config.network), blocks)


def check_budget(config: RunConfig, algorithm: AnyAlgorithm, task: Task) -> None:
    """Refuses a run that could not make an update.

    Raises:
        BudgetError: the budget is smaller than one update.
    """
    most = algorithm.env_steps_per_update(task)
    if config.budget_env_steps is not None and config.budget_env_steps < most:
        raise BudgetError(
            f"budget {config.budget_env_steps:,} env steps is smaller than one update, which "
            f"takes up to {most:,} here; raise --budget or make the update smaller"
        )


def prepare(config: RunConfig) -> Prepared:
    """Builds environment, network and algorithm; code of others is checked and audited.

    Raises:
        UsageError: a setting is wrong, the budget is smaller than one update, or a plugin breaks
            the contract.
    """
    check_generator()
    agent, entry = find_agent(config.algo), find_env(config.env)
    algorithm, env = contract.make_agent(agent, config.settings), contract.make_env(entry)
    if entry.plugin:
        finite(Environment(env, str(entry.plugin)))
    task = task_of(config, env)
    others = tuple(p for p in (agent.plugin, entry.plugin) if p)
    who = str(agent.plugin) if agent.plugin else f"agent {agent.name!r}"
    if others:
        contract.check_algorithm(algorithm, task, who, others[0])
    check_budget(config, algorithm, task)
    if not others:
        return Prepared(config, algorithm, task)
    audit = Audit(algorithm, task, who, others[0])
    audit(algorithm.init(task, run_streams(config.seed)))
    return Prepared(config, algorithm, task, others, audit)
