"""The bridge to evosax (Lange 2022, https://arxiv.org/abs/2212.04180): strategies that see a
population of weights and its fitness, and nothing else.

evosax minimises, so here, and nowhere else, fitness is negated. The population is built, a copy of
the weights for every member, as ask-and-tell libraries need it; EGGROLL and OpenES do without.

All members of a generation play the same episodes (start states and action noise), as mirrored
pairs must, and as it makes members easier to compare. A member's episodes are the lanes of one
slot, so that they share one read of its weights.
"""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rlbench.algorithm import Task
from rlbench.blocks import Blocks
from rlbench.bounds import at_least, positive, product
from rlbench.memory import bytes_needed, bytes_of, refuse_more_than_there_is
from rlbench.normalizer import Moments, applied, merge, merge_all, no_observations, see
from rlbench.rollout import Episodes, play, step_metrics
from rlbench.seeding import Streams
from rlbench.types import Action, Key, Metrics, Obs, Params

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations on import
    from evosax.algorithms.distribution_based.base import DistributionBasedAlgorithm

ASK, TELL, PLAY, INIT = range(4)
"""What a key of a generation is for."""


class Strategy(NamedTuple):
    """A strategy of evosax, and its hyper-parameters in evosax's form."""

    es: Any
    params: Any

    @property
    def has_mean(self) -> bool:
        """Whether it searches around a mean; otherwise it keeps a population."""
        return isinstance(self.es, DistributionBasedAlgorithm)


class EvosaxState(NamedTuple):
    """The strategy's own state, what normalises, and where the noise is."""

    strategy: Any
    moments: Moments
    generation: Int[Array, ""]
    key: Key


def per_member(layer: int, w: Array, b: Array, x: Array, /) -> Array:
    """The `linear` hook: (C, out, in) weights and (C, out) biases of C members see (C, S, in)."""
    return jnp.asarray(jnp.einsum("csi,coi->cso", x, w) + b[:, None])


def per_member_vector(name: str, v: Array, /) -> Array:
    """The `vector` hook: (C, n) to (C, 1, n)."""
    return v[:, None]


@dataclass(frozen=True)
class EvosaxAgent(ABC):
    """What every strategy of evosax has.

    Attributes:
        pop_size: members of the population.
        n_parallel_evaluations: episodes a member plays; its fitness is their mean return.
        sigma: standard deviation of the first population around the policy's initial weights.
        deterministic_policy: training episodes act with the mode; otherwise they sample.
        normalize_observations: by running mean and variance over all live steps so far.
        episode_steps: training episodes are cut after this many env steps; 0 for the env's limit.
    """

    pop_size: int = 256
    n_parallel_evaluations: int = 1
    sigma: float = 0.05
    deterministic_policy: bool = True
    normalize_observations: bool = True
    episode_steps: int = 0

    memory_setting: ClassVar[str] = "pop_size"

    def __post_init__(self) -> None:
        """Refuses what no population could use.

        Raises:
            UsageError: an option is out of its range.
        """
        at_least(self, 2, "pop_size")
        at_least(self, 1, "n_parallel_evaluations")
        at_least(self, 0, "episode_steps")
        product(self, "pop_size", "n_parallel_evaluations")
        positive(self, "sigma")

    @abstractmethod
    def strategy(self, weights: Params) -> Strategy:
        """The strategy for weights of this shape."""

    def _strategy(self, task: Task) -> Strategy:
        """The strategy, made of numbers and not of traced values: some of evosax's compute."""
        shapes = jax.eval_shape(task.policy.init, jax.random.key(0))
        with jax.ensure_compile_time_eval():
            return self.strategy(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes))

    def _blocks(self, task: Task) -> Blocks:
        weights = jax.eval_shape(task.policy.init, jax.random.key(0))
        own = sum(4 * x.size for x in jax.tree.leaves(weights))
        return task.blocks.fitting(self.n_parallel_evaluations, own)

    def env_steps_per_update(self, task: Task) -> int:
        """Every member's episodes at full length, and lanes that idle meanwhile.

        Raises:
            UsageError: the strategy needs more memory than there is.
        """
        self._refuse_what_cannot_fit(task)
        episodes, blocks = self.n_parallel_evaluations, self._blocks(task)
        queues, members = blocks.split(self.pop_size, episodes)
        return queues * blocks.most_steps(members, episodes, task.horizon(self.episode_steps))

    def _refuse_what_cannot_fit(self, task: Task) -> None:
        """Before anything is allocated: only shapes are computed."""
        weights = bytes_of(jax.eval_shape(task.policy.init, jax.random.key(0)))
        # A strategy is made of real weights, so that they are held against what there is first.
        self._refuse(weights // 4, (self.pop_size + 1) * weights)
        es, params = self._strategy(task)
        key = jax.random.key(0)
        state = jax.eval_shape(lambda: self.init(task, Streams(key, key))).strategy

        def generation(state: Any, fitness: Array) -> Any:
            population, state = es.ask(key, state, params)
            return population, es.tell(key, population, fitness, state, params)[0]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # evosax's ClipUp calls what optax deprecates
            needed = bytes_needed(generation, state, jax.ShapeDtypeStruct((self.pop_size,), float))
        self._refuse(es.num_dims, needed)

    def _refuse(self, weights: int, needed: int) -> None:
        what = f"{self.title} with {weights:,} weights and pop_size {self.pop_size:,}"
        refuse_more_than_there_is(what, needed, self.smaller)

    @property
    def title(self) -> str:
        """How refusals call it."""
        return (type(self).__doc__ or "").partition(".")[0]

    @property
    def smaller(self) -> str:
        """What would need less memory."""
        return "a smaller network or pop_size"

    def init(self, task: Task, keys: Streams) -> EvosaxState:
        """The mean, or the population's first member, at the policy's initial weights."""
        weights = task.policy.init(keys.init)
        es, params = strategy = self._strategy(task)
        key = jax.random.fold_in(keys.train, INIT)
        if strategy.has_mean:
            state = es.init(key, weights, params)
        else:
            first = jax.vmap(lambda i: self._near(weights, key, i))(jnp.arange(self.pop_size))
            state = es.init(key, first, jnp.full(self.pop_size, jnp.inf), params)
        state = jax.tree.map(jnp.asarray, state)
        return EvosaxState(
            state, no_observations(task.env.spec.observation), jnp.zeros((), jnp.int32), keys.train
        )

    def _near(self, weights: Params, key: Key, member: Array) -> Params:
        leaves, structure = jax.tree.flatten(weights)
        keys = jax.random.split(jax.random.fold_in(key, member), len(leaves))
        far = jnp.where(member > 0, self.sigma, 0.0)
        moved = [x + far * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
        moved_all: Params = jax.tree.unflatten(structure, moved)
        return moved_all

    def weights(self, task: Task, state: EvosaxState) -> Params:
        """The strategy's mean; without one, the best member of the newest population."""
        strategy = self._strategy(task)
        if strategy.has_mean:
            return strategy.es.get_mean(state.strategy)  # type: ignore[no-any-return]
        return strategy.es.get_best_solution(state.strategy)  # type: ignore[no-any-return]

    def act(self, task: Task, state: EvosaxState, obs: Obs, key: Key) -> Action:
        """The mode of the policy with `weights`."""
        obs = see(state.moments, obs, self.normalize_observations)
        return task.policy.mode(task.policy.apply(self.weights(task, state), obs))

    def network(self, task: Task, state: EvosaxState) -> tuple[Params, Moments | None]:
        """`weights`."""
        space, on = task.env.spec.observation, self.normalize_observations
        return self.weights(task, state), applied(state.moments, space, on)

    def step(self, task: Task, state: EvosaxState) -> tuple[EvosaxState, Metrics]:
        """One generation: ask, play, tell. One without a mean begins by playing where it starts."""
        es, params = strategy = self._strategy(task)
        root = jax.random.fold_in(state.key, state.generation)
        keys = [jax.random.fold_in(root, use) for use in (ASK, TELL, PLAY)]
        first = state.generation == 0

        def ask(first: Array, key: Key, before: Any) -> tuple[Params, Any]:
            population, asked = es.ask(key, before, params)
            if not strategy.has_mean:
                population = _choose(first, es.get_population(before), population)
            return population, asked

        def tell(first: Array, key: Key, population: Params, loss: Array, asked: Any) -> Any:
            told, _ = es.tell(key, population, loss, asked, params)
            return (
                told
                if strategy.has_mean
                else _choose(first, es.init(key, population, loss, params), told)
            )

        population, asked = task.blocks.everywhere(ask, first, keys[ASK], state.strategy)
        episodes = self._play(task, state.moments, population, keys[PLAY])
        fitness = jnp.mean(task.blocks.whole(episodes.returns.reshape(self.pop_size, -1)), axis=-1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # evosax's ClipUp calls what optax deprecates
            told = task.blocks.everywhere(tell, first, keys[TELL], population, -fitness, asked)
        new = EvosaxState(
            strategy=told,
            moments=merge(state.moments, merge_all(episodes.moments)),
            generation=state.generation + 1,
            key=state.key,
        )
        return new, step_metrics(episodes) | {
            "fitness_mean": jnp.mean(fitness),
            "fitness_max": jnp.max(fitness),
            "fitness_std": jnp.std(fitness),
        }

    def _play(self, task: Task, moments: Moments, population: Params, key: Key) -> Episodes:
        """Every member's episodes, in the order of the members."""
        blocks, each = self._blocks(task), self.n_parallel_evaluations
        queues, size = blocks.split(self.pop_size, each)
        slots = blocks.slots(size, each)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(each))

        def queue(shared: tuple[Moments, Array], members: Params) -> Episodes:
            moments, keys = shared

            def act(member: Params, obs: Array, keys: Array) -> Array:
                seen = see(moments, obs, self.normalize_observations)
                out = task.policy.apply(member, seen, linear=per_member)
                if self.deterministic_policy:
                    return task.policy.mode(out)
                return task.policy.sample(member, out, keys, vector=per_member_vector)

            return play(
                task.env,
                act,
                jnp.broadcast_to(keys, (size, each)),
                horizon=task.horizon(self.episode_steps),
                slots=slots,
                load=lambda items: jax.tree.map(lambda x: x[items], members),
                reference=moments.mean if self.normalize_observations else None,
                refill_at=blocks.refill_at(slots),
            )

        split = jax.tree.map(lambda x: x.reshape(queues, size, *x.shape[1:]), population)
        episodes: Episodes = blocks.map(queue, (moments, keys), split)
        return episodes


def tied_weights(population: Any, cost: Array, state: Any, params: Any) -> Array:
    """Evosax's `fitness_shaping_fn` of weights by rank, but that ties share the mean of theirs.

    evosax gives all of them the one weight in their middle, and then the weights of a population in
    which half the members reach the maximum no longer sum to what they should.
    """
    ordered = jnp.sort(cost)
    below = jnp.searchsorted(ordered, cost, side="left")
    not_above = jnp.searchsorted(ordered, cost, side="right")
    total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(params.weights)])
    shared = (total[not_above] - total[below]) / (not_above - below)
    # Without ties exactly the weights, and not a difference of sums.
    return jnp.where(not_above - below == 1, params.weights[below], shared)


def _choose(first: Array, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(first, x, y), a, b)
