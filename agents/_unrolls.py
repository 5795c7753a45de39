"""Persistent evolution strategies: a generation plays `unroll` env steps of episodes in progress.

Vicol, Metz and Sohl-Dickstein 2021, "Unbiased Gradient Estimation in Unrolled Computation Graphs
with Persistent Evolution Strategies", https://arxiv.org/abs/2112.13835

A member keeps its episode from generation to generation, and meets fresh noise in each: in
generation g lane i plays on with mu + sigma_g s_i E(g, i), s_i = +-1. What it earns then depends on
all the noise since its episode began, in generation b_i; the sum over generations of the reward in
each, R_i(g), has the gradient (of E standard normal: for low rank an approximation, EGGROLL's)

    1/N sum_i R_i(g) s_i sum_{k = b_i .. g} E(k, i) / sigma_k .

ES on truncated episodes keeps only k = g, and is blind to what pays after the cut. The accumulated
perturbation, sum_k sigma_k E(k, i), over sigma_g^2 is the same only where sigma does not decay. As
in the paper, mu is taken to be the same in all generations of an episode, which is almost so.

The paper stores that sum for every member. Here it is rebuilt from counters: one contraction adds
the noise of generation k, with weight zero where b_i > k. A lane's state is its episode and b_i.

An episode that ended is followed by a fresh one in the *next* generation. Were it to begin at once,
then the longer this generation's noise kept the last one alive, the less would it have time to earn
under that noise, which would get the blame: of a task that pays 1 a step and ends at random nothing
at all would be learnt. (The paper's problems end when they are due, whatever the parameters.) The
lane's idle steps are simulated and not live; a queue of which all lanes idle ends early.

No baseline is subtracted from rewards: to stay alive is to earn more, and less a constant a step it
would be to earn something else. Mirrored lanes whose episodes began together cancel what they have
in common. The weights are divided by the standard deviation of all fitness so far, not by that of
a generation: the generations of one episode must count alike, and in some all members earn the
same. `unroll` >= the episodes' length is plain ES, up to this divisor.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rlbench.agents import _perturbation as noises
from rlbench.algorithm import Task
from rlbench.bounds import at_least
from rlbench.errors import UsageError
from rlbench.normalizer import Moments, merge, moments_of, no_moments
from rlbench.rollout import Episodes
from rlbench.segments import begin_all, play_on
from rlbench.types import Params

if TYPE_CHECKING:
    from rlbench.agents._es import ESState, EvolutionStrategy


class Unrolls(NamedTuple):
    """Episodes in progress. A lane is a (pair, sign, episode), in this order.

    Attributes:
        env: states and observations of the environments.
        began: the generation in which each lane's episode began.
        fitness: moments of the members' rewards in a generation, over all generations.
    """

    env: tuple[Any, Array]
    began: Int[Array, " L"]
    fitness: Moments


def check(es: "EvolutionStrategy") -> None:
    """Refuses what does not go with unrolls.

    Raises:
        UsageError: an option is out of its range, or contradicts `unroll`.
    """
    at_least(es, 0, "unroll")
    if es.unroll and es.rank_transform:
        raise UsageError(
            "rank_transform cannot be combined with unroll: ranks within a generation do not add "
            "up to those of an episode; use rank_transform=false or unroll=0"
        )
    if es.unroll and es.noise_reuse != 1:
        raise UsageError(
            f"unroll needs fresh noise in every generation, noise_reuse=1, not {es.noise_reuse}"
        )


def _queues(es: "EvolutionStrategy", task: Task) -> tuple[int, int]:
    """(number of queues, pairs in each): all lanes of a queue play at once."""
    return es.blocks(task).lockstep(es.pop_size // 2, 2 * es.n_parallel_evaluations)


def most_steps(es: "EvolutionStrategy", task: Task) -> int:
    """Every lane's steps of a generation."""
    steps = min(es.unroll, task.horizon(es.episode_steps))
    return es.pop_size * es.n_parallel_evaluations * steps


def begin(es: "EvolutionStrategy", task: Task, state: "ESState") -> Unrolls:
    """Every lane at the start of its first episode."""
    keys = es._episode_keys(state, jnp.arange(es.pop_size // 2))
    return Unrolls(
        env=jax.jit(lambda keys: begin_all(task.env, keys))(keys),
        began=jnp.zeros(keys.size, jnp.int32),
        fitness=no_moments(1),
    )


def learn(
    es: "EvolutionStrategy", task: Task, state: "ESState", sigma: Array
) -> tuple[Params, Float[Array, "P 2"], Episodes, Unrolls]:
    """Plays one generation.

    Returns:
        The estimated gradient; the members' fitness, which is what they earned in this generation
        (mean over their episodes); what was played; and where the episodes are.
    """
    before, state = state.unrolls, state._replace(unrolls=())
    queues, pairs = _queues(es, task)
    blocks, shape = es.blocks(task), (queues, pairs, 2, es.n_parallel_evaluations)
    ids = jnp.arange(queues * pairs).reshape(queues, pairs)
    noise = es._keep(task, blocks, state, ids)
    by_queue = jax.tree.map(
        lambda x: x.reshape(queues, -1, *x.shape[1:]), (before.env, before.began)
    )
    env, ended, episodes = blocks.map(
        lambda shared, *mine: _play(es, task, *shared, *mine), (state, sigma), ids, by_queue, noise
    )
    env, ended = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (env, ended))
    rewards = task.blocks.whole(episodes.returns.reshape(shape))
    fitness = task.blocks.whole(jnp.mean(rewards, axis=-1).reshape(-1, 2))
    so_far = merge(before.fitness, moments_of(fitness.reshape(-1, 1)))
    scale = es._scale(sigma) / es.n_parallel_evaluations
    # As in the authors' code for whole episodes, the epsilon is inside the root.
    scale = task.blocks.whole(scale * jax.lax.rsqrt(so_far.m2[0] / so_far.n + 1e-5))
    total = task.blocks.sum(
        lambda state, *mine: _weighted_sum(es, state, *mine),
        state,
        rewards,
        before.began.reshape(shape),
        ids,
        noise,
    )
    direction: Params = jax.tree.map(lambda x: scale * x, total)
    began = jnp.where(ended, state.generation + 1, before.began)
    return direction, fitness, episodes, Unrolls(env, began, so_far)


def _play(
    es: "EvolutionStrategy",
    task: Task,
    state: "ESState",
    sigma: Array,
    ids: Int[Array, " P"],
    lanes: tuple[tuple[Any, Array], Int[Array, " L"]],
    noise: noises.Noise | None,
) -> tuple[tuple[Any, Array], Bool[Array, " L"], Episodes]:
    """One queue's part of a generation."""
    noise = es._draw(state, ids) if noise is None else noise
    env, began = lanes
    after = state._replace(generation=state.generation + 1)
    now, then = (es._episode_keys(s, ids).reshape(-1, es._lanes[1]) for s in (state, after))
    return play_on(
        task.env,
        es._slot_policy(task, state),
        env,
        (now, then),
        steps=es.unroll,
        # An episode began with a generation, and has played all of each one since.
        left=task.horizon(es.episode_steps) - es.unroll * (state.generation - began),
        member=noises.members(noise, sigma, jnp.arange(now.shape[0]), *es._lanes),
        reference=state.moments.mean if es.normalize_observations else None,
    )


def _weighted_sum(
    es: "EvolutionStrategy",
    state: "ESState",
    rewards: Float[Array, "P 2 E"],
    began: Int[Array, "P 2 E"],
    ids: Int[Array, " P"],
    noise: noises.Noise | None,
) -> Params:
    """One queue's sum over lanes of R_i s_i sum_k E(k, i) sigma_g / sigma_k."""
    now = state.generation

    def part(k: Array, noise: noises.Noise) -> Params:
        owed = jnp.sum(jnp.where(began <= k, rewards, 0.0), axis=-1)
        weights = (owed[:, 0] - owed[:, 1]) * es.sigma_decay ** (now - k)
        return noises.weighted_sum(es.perturbation, state.params, noise, weights)

    def add(k: Array, total: Params) -> Params:
        past = part(k, es._draw(state._replace(generation=k), ids))
        added: Params = jax.tree.map(jnp.add, total, past)
        return added

    newest = part(now, es._draw(state, ids) if noise is None else noise)
    total: Params = jax.lax.fori_loop(jnp.min(began), now, add, newest)
    return total
