"""PPO: proximal policy optimisation with generalised advantage estimates.

Schulman et al. 2017, https://arxiv.org/abs/1707.06347; advantages: Schulman et al. 2016,
https://arxiv.org/abs/1506.02438. Option names: EGGROLL's (arXiv 2511.16652), which are Rejax's.

The critic has a network of its own, of the policy's shape. Where the time limit cut an episode, the
value of its true last observation stands for what would have followed. Against Rejax: gradients are
clipped by global norm, not by element; the value loss is not clipped.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from rlbench.agents._advantages import RewardScale, estimate_advantages, no_rewards, scale_rewards
from rlbench.algorithm import Task
from rlbench.bounds import at_least, between, not_negative, positive, product
from rlbench.errors import UsageError
from rlbench.normalizer import Moments, applied, merge, merge_all, no_observations, observed, see
from rlbench.seeding import Streams, stream
from rlbench.segments import Lanes, Segment, collect, start
from rlbench.types import Action, Key, Metrics, Obs, Params

SHARED_WORK = 1 << 24
"""Weights times rows from which on a minibatch is worth sharing between devices. Cartpole on two of
a CPU, 256 rows: 3x256, 18 s shared and 22 s not (2e5 env steps); 1x64, 10 s and 3.0 s (5e5)."""


class PPOState(NamedTuple):
    """Both networks, what normalises, and the episodes in progress."""

    params: Params
    optimizer: Any
    moments: Moments
    rewards: RewardScale
    lanes: Lanes
    update: Int[Array, ""]
    key: Key


class Batch(NamedTuple):
    """What one update learns from, B steps in any order; `drawn` is not yet clipped to the box."""

    obs: Array
    drawn: Array
    log_prob: Float[Array, " B"]
    advantage: Float[Array, " B"]
    target: Float[Array, " B"]


@dataclass(frozen=True)
class PPO:
    """PPO.

    Attributes:
        num_envs: episodes in progress at the same time.
        num_steps: env steps of each between two updates.
        num_epochs: times that an update goes through what was collected.
        num_minibatches: gradient steps of an epoch.
        learning_rate: of adam, in the first update.
        lr_decay: factor on the learning rate every update.
        gamma: discount.
        gae_lambda: of the advantage estimates; 1 is Monte Carlo, 0 one-step.
        clip_eps: how far the probability ratio may leave 1 before it stops to count.
        ent_coef: weight of the entropy bonus.
        vf_coef: weight of the value loss.
        max_grad_norm: policy's and critic's gradients are each scaled down to this global norm.
        normalize_observations: by running mean and variance over all steps so far.
        normalize_rewards: divide by the running standard deviation of discounted returns.
    """

    num_envs: int = 64
    num_steps: int = 128
    num_epochs: int = 4
    num_minibatches: int = 32
    learning_rate: float = 3e-4
    lr_decay: float = 1.0
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_eps: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    normalize_observations: bool = True
    normalize_rewards: bool = False
    memory_setting: ClassVar[str] = "num_envs"

    def __post_init__(self) -> None:
        """Refuses what cannot be run.

        Raises:
            UsageError: an option is out of its range.
        """
        at_least(self, 1, "num_envs", "num_steps", "num_epochs", "num_minibatches")
        positive(self, "learning_rate", "lr_decay", "clip_eps", "max_grad_norm")
        between(self, 0.0, 1.0, "gamma", "gae_lambda")
        not_negative(self, "ent_coef", "vf_coef")
        steps = product(self, "num_envs", "num_steps")
        if steps % self.num_minibatches or steps == self.num_minibatches:
            raise UsageError(
                f"num_minibatches must divide num_envs x num_steps = {steps} into parts of at "
                f"least 2, and {self.num_minibatches} does not"
            )

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        every = self.num_epochs * self.num_minibatches
        rate = optax.exponential_decay(self.learning_rate, every, self.lr_decay, staircase=True)
        return optax.chain(
            optax.clip_by_global_norm(self.max_grad_norm), optax.adam(rate, eps=1e-5)
        )

    def env_steps_per_update(self, task: Task) -> int:
        """The same for every update."""
        return self.num_envs * self.num_steps

    def init(self, task: Task, keys: Streams) -> PPOState:
        """Initial weights, and every lane at the start of an episode."""
        critic = task.policy.critic().init(stream(keys.init, "critic"))
        params = {"policy": task.policy.init(keys.init), "critic": critic}
        lane_keys = jax.random.split(stream(keys.train, "lanes"), self.num_envs)
        return PPOState(
            params=params,
            optimizer={name: self._optimizer.init(x) for name, x in params.items()},
            moments=no_observations(task.env.spec.observation),
            rewards=no_rewards(self.num_envs),
            lanes=jax.jit(lambda keys: start(task.env, keys))(lane_keys),
            update=jnp.zeros((), jnp.int32),
            key=stream(keys.train, "minibatches"),
        )

    def act(self, task: Task, state: PPOState, obs: Obs, key: Key) -> Action:
        """The policy's mode."""
        obs = see(state.moments, obs, self.normalize_observations)
        return task.policy.mode(task.policy.apply(state.params["policy"], obs))

    def network(self, task: Task, state: PPOState) -> tuple[Params, Moments | None]:
        """The actor's weights."""
        space, on = task.env.spec.observation, self.normalize_observations
        return state.params["policy"], applied(state.moments, space, on)

    def step(self, task: Task, state: PPOState) -> tuple[PPOState, Metrics]:
        """Collects a segment of every lane, and learns from it."""
        queues, each = task.blocks.lockstep(self.num_envs)
        split = jax.tree.map(lambda x: x.reshape(queues, each, *x.shape[1:]), state.lanes)
        seen = (state.params, state.moments)
        lanes, segment, values, moments = task.blocks.map(
            lambda seen, lanes: self._collect(task, seen, lanes), seen, split
        )
        state = state._replace(lanes=jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), lanes))

        def by_time(x: Array) -> Any:  # (queues, T, lanes, ...) to (T, L, ...)
            x = jnp.moveaxis(x, 0, 1).reshape(self.num_steps, self.num_envs, *x.shape[3:])
            return task.blocks.whole(x)

        segment, values = jax.tree.map(by_time, (segment, values))
        reward, ends = segment.reward, (segment.terminated, segment.truncated)
        if self.normalize_rewards:
            rewards, reward = scale_rewards(state.rewards, reward, ends[0] | ends[1], self.gamma)
            state = state._replace(rewards=rewards)
        advantage = estimate_advantages(reward, values, ends, self.gamma, self.gae_lambda)
        (drawn, log_prob), obs = segment.chosen
        batch = Batch(obs, drawn, log_prob, advantage, advantage + values[0])
        batch = jax.tree.map(lambda x: task.blocks.whole(x.reshape(-1, *x.shape[2:])), batch)
        state, metrics = self._learn(task, state, batch)
        if self.normalize_observations:
            state = state._replace(moments=merge(state.moments, merge_all(moments)))
        steps = jnp.full(queues, each * self.num_steps, jnp.int32)
        metrics |= {"simulated_env_steps": steps, "live_env_steps": steps}
        return state._replace(update=state.update + 1), metrics

    def _collect(
        self, task: Task, seen: tuple[Params, Moments], lanes: Lanes
    ) -> tuple[Lanes, Segment, tuple[Array, Array], Moments]:
        """One queue's segment, its values V(s) and V(s'), and moments of its observations."""
        (params, moments), policy, critic = seen, task.policy, task.policy.critic()

        def act(obs: Array, keys: Array) -> tuple[Array, Any]:
            obs = see(moments, obs, self.normalize_observations)
            out = policy.apply(params["policy"], obs)
            drawn = policy.draw(params["policy"], out, keys)
            log_prob = policy.log_prob(params["policy"], out, drawn)
            return policy.to_action(drawn), ((drawn, log_prob), obs)

        def value(obs: Array) -> Array:
            obs = see(moments, obs, self.normalize_observations)
            return critic.apply(params["critic"], obs)[..., 0]

        lanes, segment = collect(task.env, act, lanes, self.num_steps)
        return lanes, segment, (value(segment.obs), value(segment.next_obs)), observed(segment.obs)

    def _learn(self, task: Task, state: PPOState, batch: Batch) -> tuple[PPOState, Metrics]:
        """All epochs' gradient steps, each over its own shuffled minibatch."""
        steps = self.num_envs * self.num_steps
        size = steps // self.num_minibatches
        work = size * sum(x.size for x in jax.tree.leaves(state.params))
        parts = task.blocks.split(size, 1)[0] if work >= SHARED_WORK else 1

        def epoch(c: tuple[Params, Any], key: Key) -> tuple[tuple[Params, Any], Metrics]:
            order = jax.random.permutation(key, steps)
            return jax.lax.scan(minibatch, c, order.reshape(-1, parts, size // parts))

        def minibatch(c: tuple[Params, Any], rows: Array) -> tuple[tuple[Params, Any], Metrics]:
            mine = task.blocks.whole(jax.tree.map(lambda x: x[rows], batch))
            a = (mine.advantage - jnp.mean(mine.advantage)) / (jnp.std(mine.advantage) + 1e-8)
            mine = mine._replace(advantage=task.blocks.whole(a))

            def part(params: Params, mine: Batch) -> Any:
                return jax.grad(lambda p: self._loss(task, p, mine, size), has_aux=True)(params)

            if parts == 1:
                gradient, told = part(c[0], jax.tree.map(lambda x: x[0], mine))
            else:
                gradient, told = task.blocks.sum(part, c[0], mine)
            # Each by its own norm: the critic's errors say nothing of the policy.
            params, optimizer = {}, {}
            for name in c[0]:
                updates, optimizer[name] = self._optimizer.update(gradient[name], c[1][name])
                params[name] = optax.apply_updates(c[0][name], updates)
            return (params, optimizer), told

        keys = jax.random.split(jax.random.fold_in(state.key, state.update), self.num_epochs)
        (params, optimizer), told = jax.lax.scan(epoch, (state.params, state.optimizer), keys)
        return state._replace(params=params, optimizer=optimizer), jax.tree.map(jnp.mean, told)

    def _loss(self, task: Task, params: Params, b: Batch, size: int) -> tuple[Array, Metrics]:
        """A part's share of the minibatch's loss, and of what is told about it."""
        policy = task.policy
        out = policy.apply(params["policy"], b.obs)
        log_ratio = policy.log_prob(params["policy"], out, b.drawn) - b.log_prob
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1.0 - self.clip_eps, 1.0 + self.clip_eps)
        gain = jnp.sum(jnp.minimum(ratio * b.advantage, clipped * b.advantage)) / size
        value = policy.critic().apply(params["critic"], b.obs)[..., 0]
        value_loss = 0.5 * jnp.sum((value - b.target) ** 2) / size
        entropy = jnp.sum(policy.entropy(params["policy"], out)) / size
        loss = -gain + self.vf_coef * value_loss - self.ent_coef * entropy
        return loss, {
            "policy_loss": -gain,
            "value_loss": value_loss,
            "entropy": entropy,
            "approx_kl": jnp.sum(ratio - 1.0 - log_ratio) / size,
            "clip_fraction": jnp.sum(jnp.abs(ratio - 1.0) > self.clip_eps) / size,
        }
