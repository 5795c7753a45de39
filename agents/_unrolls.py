"""Persistent evolution strategies: updates from truncated unrolls, without truncation's bias.

Vicol, Metz & Sohl-Dickstein 2021, "Unbiased Gradient Estimation in Unrolled Computation Graphs with
Persistent Evolution Strategies", https://arxiv.org/abs/2112.13835

An episode is played a few steps at a time, each time with fresh noise: lane i plays generation k
with mu + s_i sigma_k E_(k,i), s_i = +-1. What it is paid in generation g depends on the noise of
every generation k that its episode has seen, so the gradient of J is estimated by

    1/N sum_i sum_(k = b_i .. g)  s_i E_(k,i) / sigma_k  R_(g,i),    b_i: where its episode began.

(With a constant sigma that is the paper's xi_i R_i / (N sigma^2).) A plain ES would leave out all
but k = g. The paper keeps the sum of a member's noise; here nothing is kept but b_i, and the noise
is drawn anew from its counters, so that low-rank noise stays low-rank.

An episode that ends within an unroll is followed by a fresh one at once. That one has seen only
this generation's noise: it is paid for under k = g, and the earlier k for what came before the end.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rlbench.agents import _perturbation as noises
from rlbench.agents._es_state import ESState
from rlbench.agents._fitness import EPSILON
from rlbench.algorithm import Task
from rlbench.env import AnyEnv, Discrete, TimeStep
from rlbench.errors import UsageError
from rlbench.normalizer import Moments, moments_of, no_moments
from rlbench.segments import Lanes, Segment, collect, start
from rlbench.types import Action, Key, Metrics, Obs, Params

if TYPE_CHECKING:
    from rlbench.agents._es import EvolutionStrategy


class Unrolls(NamedTuple):
    """Episodes in progress, L lanes in the order (pair, sign, episode).

    Attributes:
        lanes: where they are.
        began: the first generation whose noise each of them has seen.
    """

    lanes: Lanes
    began: Int[Array, " L"]


class Unroll(NamedTuple):
    """What a generation's steps paid, by lane.

    Attributes:
        total: in all.
        before: by the episodes that were in progress at its start.
        began: when those began, as in `Unrolls`.
    """

    total: Float[Array, "*L"]
    before: Float[Array, "*L"]
    began: Int[Array, "*L"]


def check(es: "EvolutionStrategy") -> None:
    """Refuses options under which the estimate would be another.

    Raises:
        UsageError: says which.
    """
    if es.rank_transform:
        raise UsageError("unroll cannot be combined with rank_transform: ranks do not add up")
    if es.noise_reuse != 1:
        raise UsageError(
            f"unroll needs fresh noise every generation, noise_reuse=1, not {es.noise_reuse}"
        )


class _Cut:
    """The environment with a shorter time limit; its state also counts an episode's steps."""

    def __init__(self, env: AnyEnv, steps: int) -> None:
        """Episodes are truncated after so many env steps."""
        self._env, self._steps, self.spec = env, steps, env.spec

    def reset(self, key: Key) -> tuple[tuple[Any, Array], Obs]:
        """As it was."""
        state, obs = self._env.reset(key)
        return (state, jnp.zeros((), jnp.int32)), obs

    def step(
        self, key: Key, state: tuple[Any, Array], action: Action
    ) -> tuple[tuple[Any, Array], TimeStep]:
        """As it was, but for `truncated`."""
        inner, now = self._env.step(key, state[0], action)
        steps = state[1] + 1
        truncated = now.truncated | ((steps >= self._steps) & ~now.terminated)
        return (inner, steps), now._replace(truncated=truncated)


def _cut(es: "EvolutionStrategy", task: Task) -> Task:
    steps = es.horizon(task)
    return task if steps == task.env.spec.max_steps else replace(task, env=_Cut(task.env, steps))


def begin(es: "EvolutionStrategy", task: Task, train: Key) -> Unrolls:
    """Every lane at the start of an episode; mirrored lanes have the same key, and so episodes."""
    root = jax.random.fold_in(train, 1)
    pairs, episodes = es.pop_size // 2, es.n_parallel_evaluations

    def lane_key(pair: Array, episode: Array) -> Key:
        return jax.random.fold_in(jax.random.fold_in(root, pair), episode)

    shape = (pairs, 2, episodes)
    pair, _, episode = (jnp.broadcast_to(x, shape) for x in jnp.indices(shape, sparse=True))
    keys = jax.vmap(lane_key)(pair.reshape(-1), episode.reshape(-1))
    env = _cut(es, task).env
    lanes = jax.jit(lambda keys: start(env, keys))(keys)
    return Unrolls(lanes, jnp.zeros(keys.shape, jnp.int32))


def step(es: "EvolutionStrategy", task: Task, state: ESState) -> tuple[ESState, Metrics]:
    """One generation: `unroll` steps of every lane, and an update."""
    task, pairs, of_pair = _cut(es, task), es.pop_size // 2, es.lanes[0]
    queues, size = task.blocks.lockstep(pairs, of_pair)
    ids = jnp.arange(pairs).reshape(queues, size)
    sigma = es.sigma * es.sigma_decay**state.generation

    def by_queue(x: Array) -> Array:
        return x.reshape(queues, size * of_pair, *x.shape[1:])

    def joined(x: Array) -> Array:
        return x.reshape(-1, *x.shape[2:])

    unrolls, unroll, seen = task.blocks.map(
        lambda shared, ids, unrolls: _play(es, task, shared, ids, unrolls),
        (state._replace(unrolls=()), sigma),
        ids,
        jax.tree.map(by_queue, state.unrolls),
    )
    unrolls, unroll = task.blocks.whole((unrolls, unroll))
    fitness = jnp.mean(unroll.total.reshape(pairs, 2, -1), axis=-1)
    direction = _estimate(es, task, state._replace(unrolls=()), sigma, ids, unroll, fitness)
    new = es.ascend(state, direction, seen)._replace(unrolls=jax.tree.map(joined, unrolls))
    steps = jnp.full(queues, size * of_pair * es.unroll, jnp.int32)
    return new, {
        "simulated_env_steps": steps,
        "live_env_steps": steps,
        "fitness_mean": jnp.mean(fitness),
        "fitness_max": jnp.max(fitness),
        "fitness_std": jnp.std(fitness),
        "sigma": sigma,
    }


def _play(
    es: "EvolutionStrategy",
    task: Task,
    shared: tuple[ESState, Array],
    ids: Array,
    unrolls: Unrolls,
) -> tuple[Unrolls, Unroll, Moments]:
    """One queue's unroll."""
    state, sigma = shared
    together = es.lanes[1]
    slots = ids.shape[0] * es.lanes[0] // together
    member = es.members(es.draw(state, state.generation, ids), jnp.arange(slots), sigma)

    def act(obs: Array, keys: Array) -> tuple[Array, tuple[()]]:
        by_slot = [x.reshape(slots, together, *x.shape[1:]) for x in (obs, keys)]
        action = es.choose(task, state, member, *by_slot)
        return action.reshape(-1, *action.shape[2:]), ()

    lanes, segment = collect(task.env, act, unrolls.lanes, es.unroll)
    blind = not es.normalize_observations or isinstance(task.env.spec.observation, Discrete)
    seen = no_moments(state.moments.mean.shape[0]) if blind else moments_of(segment.obs)
    unroll, began = _account(segment, unrolls.began, state.generation)
    return Unrolls(lanes, began), unroll, seen


def _account(segment: Segment, began: Array, generation: Array) -> tuple[Unroll, Array]:
    """Who was paid what, (T, L) rewards to (L,) sums, and when the episodes now began."""
    ended: Bool[Array, "T L"] = segment.terminated | segment.truncated
    in_progress = jnp.cumsum(ended, axis=0) - ended == 0
    # An episode that starts after the unroll's last step has not seen this generation's noise.
    fresh = jnp.where(ended[-1], generation + 1, generation)
    before = jnp.sum(jnp.where(in_progress, segment.reward, 0.0), axis=0)
    now = jnp.where(jnp.any(ended, axis=0), fresh, began).astype(jnp.int32)
    return Unroll(jnp.sum(segment.reward, axis=0), before, began), now


def _estimate(
    es: "EvolutionStrategy",
    task: Task,
    state: ESState,
    sigma: Array,
    ids: Array,
    unroll: Unroll,
    fitness: Array,
) -> Params:
    """The scaled sum over members and over the generations that their episodes have seen.

    Rewards are divided by their spread, so that a learning rate means what it does elsewhere, but
    nothing is subtracted: a constant a step would be a reward for surviving, or a fine. Between
    mirrored lanes whose episodes are equally old it would cancel anyway.
    """
    oldest = jnp.minimum(jnp.min(unroll.began), state.generation)
    n, lanes_of = es.pop_size, es.n_parallel_evaluations
    scale = jax.lax.rsqrt(jnp.var(fitness) + EPSILON) / lanes_of
    # sigma^2 sqrt(N) turns the paper's 1 / (N sigma) into the authors' sigma / sqrt(N).
    scale *= 1.0 / n if es.estimator == "paper" else sigma**2 * n**-0.5

    def part(shared: tuple[ESState, Array, Array], ids: Array, unroll: Unroll) -> Params:
        state, oldest, scale = shared
        now = state.generation
        sign = jnp.asarray([1.0, -1.0])[None, :, None]
        total, before, began = (x.reshape(ids.shape[0], 2, -1) for x in unroll)

        def add(k: Array, sum_so_far: Params) -> Params:
            paid = jnp.where(k == now, total, jnp.where(began <= k, before, 0.0))
            weights = jnp.sum(sign * paid, axis=(1, 2)) * scale / (es.sigma * es.sigma_decay**k)
            noise = es.draw(state, k, ids)
            more = noises.weighted_sum(es.perturbation, state.params, noise, weights)
            added: Params = jax.tree.map(jnp.add, sum_so_far, more)
            return added

        zero = jax.tree.map(jnp.zeros_like, state.params)
        out: Params = jax.lax.fori_loop(oldest, now + 1, add, zero)
        return out

    total: Params = task.blocks.sum(part, (state, oldest, scale), ids, unroll)
    return total
