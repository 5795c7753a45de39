"""What an agent must do, on a small environment, with the shared network and two queues."""

import io
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load, save

from rlbench import contract, meter
from rlbench.algorithm import AnyAlgorithm, PlaysNetwork, Task, evaluate
from rlbench.audit import Audit, not_finite
from rlbench.blocks import Blocks
from rlbench.contract import ContractError
from rlbench.env import AnyEnv, Box
from rlbench.network import Network
from rlbench.normalizer import normalize
from rlbench.policy import MLPPolicy
from rlbench.seeding import evaluation_keys, run_streams
from rlbench.state import restore_state, state_arrays
from rlbench.testing.probes import PROBES

LANES = 8
UPDATES = 3


def same(a: Any, b: Any) -> str | None:
    """Where two pytrees of arrays differ by a bit; None if nowhere."""
    changed = contract.difference(a, b)
    if changed:
        return changed
    for (name, x), y in zip(state_arrays(a).items(), state_arrays(b).values(), strict=True):
        if x.tobytes() != y.tobytes():
            return f"{name} has other values"
    return None


class Agent:
    """An agent on an environment: what the checks take. Programs are compiled once."""

    def __init__(
        self,
        algorithm: AnyAlgorithm,
        env: AnyEnv = PROBES[0],
        network: Network | None = None,
        who: str = "",
    ) -> None:
        """Takes the agent with its settings.

        Args:
            algorithm: whose settings should make an update of a few thousand env steps at most.
            env: where it learns.
            network: the shared policy network; one hidden layer of 8 if None.
            who: how a complaint begins; the agent's class if empty.
        """
        policy = MLPPolicy(env.spec, network or Network((8,), "tanh"))
        self.algorithm, self.task = algorithm, Task(env, policy, Blocks(LANES, 1))
        self.who = who or f"agent {type(algorithm).__name__}"

    def init(self, seed: int = 0) -> Any:
        """The state before the first update of the run with this seed."""
        state = self.algorithm.init(self.task, run_streams(seed))
        return jax.device_put(state, self.task.blocks.replicated)

    def compile(self) -> Callable[[Any], tuple[Any, dict[str, Any]]]:
        """One update, traced and compiled anew."""
        return meter.Compiled(lambda state: self.algorithm.step(self.task, state), self.init())

    @cached_property
    def step(self) -> Callable[[Any], tuple[Any, dict[str, Any]]]:
        """One update, traced and compiled once and for all."""
        return self.compile()

    def act(self, state: Any, obs: Any, key: Any) -> Any:
        """The evaluation policy's action."""
        return self.algorithm.act(self.task, state, obs, key)

    def fail(self, sentence: str) -> None:
        """The check has failed.

        Raises:
            ContractError: always.
        """
        raise ContractError(f"{self.who} on {self.task.env.spec.id} {sentence}")


def shapes(agent: Agent) -> None:
    """States, metrics and actions have the shapes and types that the engine expects."""
    contract.check_algorithm(agent.algorithm, agent.task, agent.who)


def determinism(agent: Agent) -> None:
    """One seed gives the same bits twice, and another seed gives others."""
    first, again = (agent.init(0) for _ in range(2))
    if told := same(first, again):
        agent.fail(f"starts differently from one and the same seed: {told}")
    one, two = agent.step(first), agent.step(again)
    if told := same(one, two):
        agent.fail(f"learns differently from one and the same state: {told}")
    if same(one, agent.step(agent.init(1))) is None:
        agent.fail("does not depend on the seed: state and metrics of seeds 0 and 1 are the same")


def purity(agent: Agent) -> None:
    """An update depends on its state alone: traced anew, it is the same, and the agent unchanged.

    What is drawn from NumPy, counted in an attribute or read from a clock would be another.
    """
    before = repr(agent.algorithm)
    state = agent.init()
    if told := same(agent.step(state), agent.compile()(state)):
        agent.fail(f"is not pure: traced a second time, `step` gives another result, {told}")
    if repr(agent.algorithm) != before:
        agent.fail("is not pure: its own fields change")


def one_trace(agent: Agent) -> None:
    """One compiled program takes every update, each from what the last one returned."""
    state = agent.init()
    for _ in range(UPDATES):
        state, _ = agent.step(state)


def finite(agent: Agent) -> None:
    """States and metrics stay finite, also on an environment that is NaN after an episode's end."""
    state = agent.init()
    for update in range(UPDATES):
        state, metrics = agent.step(state)
        if where := not_finite(state) or not_finite(metrics):
            agent.fail(f"makes {where} NaN or infinite in update {update + 1}")


def budget(agent: Agent) -> None:
    """The env steps that it reports are those that the environment counted."""
    audit = Audit(agent.algorithm, agent.task, agent.who)
    state = agent.init()
    for _ in range(UPDATES):
        state, _ = audit(state)


def serialisable(agent: Agent) -> None:
    """A state that was written to a file and read back goes on to the same bits."""
    state, _ = agent.step(agent.init())
    read = load(io.BytesIO(save(state_arrays(state))).getvalue())
    try:
        back = restore_state(state, read)
    except Exception as error:
        agent.fail(f"has a state that cannot be read back from its file: {error}")
    if told := same(state, back):
        agent.fail(f"has a state that is another once it was read back: {told}")
    if told := same(agent.step(state), agent.step(back)):
        agent.fail(f"goes on differently from a state that was read back: {told}")


def acting(agent: Agent) -> None:
    """`act` takes what `step` returned, stays in the action space, and acts alone as in a batch."""
    state, _ = agent.step(agent.init())
    keys = evaluation_keys(16)
    env = agent.task.env
    obs = jax.vmap(env.reset)(keys)[1]
    batched = np.asarray(jax.jit(jax.vmap(lambda o, k: agent.act(state, o, k)))(obs, keys))
    single = jax.jit(lambda o, k: agent.act(state, o, k))
    alone = np.stack([np.asarray(single(o, k)) for o, k in zip(obs, keys, strict=True)])
    if not np.allclose(batched, alone, rtol=1e-4, atol=1e-5):
        agent.fail("acts differently in a batch than alone: lanes are not independent")
    space = env.spec.action
    if isinstance(space, Box):
        low, high = np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)
        inside = np.all((batched >= low) & (batched <= high))
    else:
        inside = np.all((batched >= 0) & (batched < space.n))
    if not inside:
        agent.fail(f"acts outside of {space}")
    episodes = jax.jit(lambda s, k: evaluate(agent.algorithm, agent.task, s, k))(state, keys)
    if not jnp.all(jnp.isfinite(episodes.returns)):
        agent.fail("has an evaluation whose returns are not finite")


def exporting(agent: Agent) -> None:
    """If it says which network it plays with, that network's mode is how it acts."""
    if not isinstance(agent.algorithm, PlaysNetwork):
        return
    state, _ = agent.step(agent.init())
    policy, keys = agent.task.policy, evaluation_keys(16)
    weights, moments = agent.algorithm.network(agent.task, state)
    obs = jax.vmap(agent.task.env.reset)(keys)[1]
    acts = jax.jit(jax.vmap(lambda o, k: agent.act(state, o, k)))(obs, keys)
    seen = obs if moments is None else normalize(moments, obs)
    told = policy.mode(policy.apply(weights, seen))
    if not np.allclose(acts, told, rtol=1e-4, atol=1e-4):
        agent.fail("acts differently from the mode of what its `network` returns")


AGENT_CHECKS: tuple[Callable[[Agent], None], ...] = (
    shapes,
    determinism,
    purity,
    one_trace,
    finite,
    budget,
    serialisable,
    acting,
    exporting,
)
"""In the order in which they explain each other's failures."""
