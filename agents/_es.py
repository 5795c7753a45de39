"""The evolution strategy that `eggroll` and `open_es` share; only the perturbation differs.

Maximises J(mu) = E f(mu + sigma E) by mirrored sampling: pairs mu +- sigma E play the same episodes
(same start states, same action noise), fitness is the mean undiscounted return, shaped over the
whole population, and the gradient estimate goes to an optax optimiser. No population is built:
noise enters at the policy's `linear` hook, and the estimate is one contraction a block.

Option names are those of the EGGROLL paper's search (arXiv 2511.16652, Table 1 in v1).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from rlbench.agents import _perturbation as noises
from rlbench.agents import _unrolls
from rlbench.agents._fitness import shape_fitness
from rlbench.algorithm import Task
from rlbench.blocks import Blocks
from rlbench.bounds import at_least, mirrored_pairs, positive, product
from rlbench.normalizer import Moments, applied, merge, merge_all, no_observations, see
from rlbench.rollout import Episodes, SlotPolicy, play, step_metrics
from rlbench.seeding import Streams
from rlbench.types import Action, Key, Metrics, Obs, Params

KEEP_BYTES = 1 << 29
"""Most noise that is kept from the episodes to the update."""


class ESState(NamedTuple):
    """All there is: the noise of any generation is rebuilt from `key` and `generation`. `unrolls`
    are the episodes in progress, where there are any.
    """

    params: Params
    optimizer: Any
    moments: Moments
    generation: Int[Array, ""]
    key: Key
    unrolls: Any = ()


@dataclass(frozen=True)
class EvolutionStrategy:
    """Hyper-parameters of the ES family.

    Attributes:
        pop_size: members of the population, an even number (mirrored pairs).
        n_parallel_evaluations: episodes a member plays; its fitness is their mean return.
        optimizer: sgd, adam or adamw (optax, default betas and weight decay).
        learning_rate: of the first generation.
        lr_decay: factor on the learning rate every generation.
        sigma: scale of the perturbations in the first generation.
        sigma_decay: factor on sigma every generation.
        rank_transform: weights are centred ranks of the fitness; otherwise z-scores.
        deterministic_policy: training episodes act with the mode; otherwise they sample.
        normalize_observations: by running mean and variance over all live steps so far.
        noise_reuse: generations that share their noise; 1 is fresh noise every generation, 0 the
            same noise for ever (the default of the authors' code).
        estimator: "paper" scales the estimate by 1 / (N sigma), "hyperscale" by sigma / sqrt(N) as
            the authors' code does. It matters under sgd; adam hides it.
        episode_steps: training episodes are cut after this many env steps; 0 for the env's limit.
        noise_dtype: float16 or float32: to what the noise is rounded when it is drawn.
        unroll: env steps that every member plays its episode on by in a generation (persistent
            evolution strategies, `_unrolls.py`); 0 for whole episodes.
    """

    pop_size: int = 256
    n_parallel_evaluations: int = 1
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    learning_rate: float = 0.01
    lr_decay: float = 1.0
    sigma: float = 0.05
    sigma_decay: float = 1.0
    rank_transform: bool = False
    deterministic_policy: bool = True
    normalize_observations: bool = True
    noise_reuse: int = 1
    estimator: Literal["paper", "hyperscale"] = "paper"
    episode_steps: int = 0
    noise_dtype: noises.NoiseType = "float16"
    unroll: int = 0

    memory_setting: ClassVar[str] = "pop_size"

    def __post_init__(self) -> None:
        """Refuses what no population could use.

        Raises:
            UsageError: an option is out of its range.
        """
        mirrored_pairs(self, "pop_size")
        at_least(self, 1, "n_parallel_evaluations")
        at_least(self, 0, "noise_reuse", "episode_steps")
        product(self, "pop_size", "n_parallel_evaluations")
        positive(self, "learning_rate", "sigma", "lr_decay", "sigma_decay")
        _unrolls.check(self)

    @property
    def perturbation(self) -> noises.Perturbation:
        """How weights are perturbed."""
        raise AttributeError("a subclass says how weights are perturbed")

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        make = {"sgd": optax.sgd, "adam": optax.adam, "adamw": optax.adamw}[self.optimizer]
        return make(optax.exponential_decay(self.learning_rate, 1, self.lr_decay))

    @property
    def _lanes(self) -> tuple[int, int]:
        """Lanes of a pair, and how many of them play in one slot."""
        of_pair = 2 * self.n_parallel_evaluations
        return of_pair, of_pair if self.perturbation.shared else 1

    def blocks(self, task: Task) -> Blocks:
        """The task's, narrower if the noise of that many lanes would not stay in the cache.

        OpenES with the paper's 3x256 network, gymnax's Pendulum: 97k env steps/s in 32 lanes, 60k
        in 128, where EGGROLL is at its fastest (440k; 383k in 32).
        """
        return task.blocks.fitting(self._lanes[1], self._noise_bytes(task))

    def env_steps_per_update(self, task: Task) -> int:
        """Every member's episodes at full length, and lanes that idle meanwhile."""
        if self.unroll:
            return _unrolls.most_steps(self, task)
        of_pair, together = self._lanes
        blocks = self.blocks(task)
        queues, pairs = blocks.split(self.pop_size // 2, of_pair)
        items = pairs * of_pair // together
        return queues * blocks.most_steps(items, together, task.horizon(self.episode_steps))

    def init(self, task: Task, keys: Streams) -> ESState:
        """The mean at the policy's initial weights."""
        params = task.policy.init(keys.init)
        state = ESState(
            params=params,
            optimizer=self._optimizer.init(params),
            moments=no_observations(task.env.spec.observation),
            generation=jnp.zeros((), jnp.int32),
            key=keys.train,
        )
        return state._replace(unrolls=_unrolls.begin(self, task, state)) if self.unroll else state

    def _see(self, state: ESState, obs: Array) -> Array:
        return see(state.moments, obs, self.normalize_observations)

    def act(self, task: Task, state: ESState, obs: Obs, key: Key) -> Action:
        """The mean policy's mode."""
        return task.policy.mode(task.policy.apply(state.params, self._see(state, obs)))

    def network(self, task: Task, state: ESState) -> tuple[Params, Moments | None]:
        """The mean's weights."""
        space, on = task.env.spec.observation, self.normalize_observations
        return state.params, applied(state.moments, space, on)

    def step(self, task: Task, state: ESState) -> tuple[ESState, Metrics]:
        """One generation."""
        sigma = self.sigma * self.sigma_decay**state.generation
        learn = partial(_unrolls.learn, self) if self.unroll else self._learn
        direction, fitness, episodes, unrolls = learn(task, state, sigma)
        ascent = jax.tree.map(jnp.negative, direction)
        updates, optimizer = self._optimizer.update(ascent, state.optimizer, state.params)
        new = ESState(
            params=optax.apply_updates(state.params, updates),
            optimizer=optimizer,
            moments=merge(state.moments, merge_all(episodes.moments)),
            generation=state.generation + 1,
            key=state.key,
            unrolls=unrolls,
        )
        return new, step_metrics(episodes) | {
            "fitness_mean": jnp.mean(fitness),
            "fitness_max": jnp.max(fitness),
            "fitness_std": jnp.std(fitness),
            "sigma": sigma,
        }

    def _learn(
        self, task: Task, state: ESState, sigma: Array
    ) -> tuple[Params, Array, Episodes, tuple[()]]:
        """The direction of ascent from whole episodes; the members' fitness, and the episodes."""
        pairs, blocks = self.pop_size // 2, self.blocks(task)
        queues, size = blocks.split(pairs, 2 * self.n_parallel_evaluations)
        ids = jnp.arange(pairs).reshape(queues, size)
        noise = self._keep(task, blocks, state, ids)
        episodes = blocks.map(
            lambda shared, ids, noise: self._play(task, shared[0], shared[1], ids, noise),
            (state, sigma),
            ids,
            noise,
        )
        # (queues, items, lanes) to (pair, sign, episode) to (pair, sign).
        returns = episodes.returns.reshape(pairs, 2, self.n_parallel_evaluations)
        # Shaping ignores a constant; XLA would fuse the mean's division into a later difference,
        # and members of equal fitness would then differ by rounding.
        anchor = returns[0, 0, 0]
        above = jnp.mean(returns - anchor, axis=-1)
        direction = self._estimate(task, state, sigma, above, ids, noise)
        return direction, anchor + above, episodes, ()

    def _draw(self, state: ESState, ids: Int[Array, " P"]) -> noises.Noise:
        epoch = state.generation // self.noise_reuse if self.noise_reuse else jnp.zeros((), int)
        root = jax.random.fold_in(state.key, 0)
        return noises.draw(self.perturbation, self.noise_dtype, root, state.params, epoch, ids)

    def _keep(self, task: Task, blocks: Blocks, state: ESState, ids: Array) -> noises.Noise | None:
        """The noise of all pairs, by queue: cheap to rebuild and dear to keep, a large population
        (None) draws it once more.
        """
        if self._noise_bytes(task) * ids.size > KEEP_BYTES:
            return None
        return blocks.map(self._draw, state, ids, gather=False)

    def _noise_bytes(self, task: Task) -> int:
        return noises.bytes_of_pair(self.perturbation, self.noise_dtype, task.policy.init)

    def _play(
        self, task: Task, state: ESState, sigma: Array, ids: Array, noise: noises.Noise | None
    ) -> Episodes:
        """One queue of P pairs: 2 x episodes lanes a pair, in the order (pair, sign, episode)."""
        noise = self._draw(state, ids) if noise is None else noise
        keys = self._episode_keys(state, ids).reshape(-1, self._lanes[1])
        blocks = self.blocks(task)
        slots = blocks.slots(*keys.shape)
        return play(
            task.env,
            self._slot_policy(task, state),
            keys,
            horizon=task.horizon(self.episode_steps),
            slots=slots,
            load=lambda items: noises.members(noise, sigma, items, *self._lanes),
            reference=state.moments.mean if self.normalize_observations else None,
            refill_at=blocks.refill_at(slots),
        )

    def _slot_policy(self, task: Task, state: ESState) -> SlotPolicy:
        """How `noises.members` act."""

        def act(member: tuple[noises.Noise, Array], obs: Array, keys: Array) -> Array:
            linear = noises.linear(self.perturbation, *member)
            out = task.policy.apply(state.params, self._see(state, obs), linear=linear)
            if self.deterministic_policy:
                return task.policy.mode(out)
            return task.policy.sample(state.params, out, keys, vector=noises.vector(*member))

        return act

    def _episode_keys(self, state: ESState, ids: Int[Array, " P"]) -> Key:
        """(P, 2, episodes) keys: mirrored members play the same episodes."""
        root = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.generation)

        def lane_key(pair: Array, episode: Array) -> Key:
            return jax.random.fold_in(jax.random.fold_in(root, pair), episode)

        episodes = jnp.tile(jnp.arange(self.n_parallel_evaluations), (2, 1))
        return jax.vmap(lambda i: jax.vmap(jax.vmap(lambda e: lane_key(i, e)))(episodes))(ids)

    def _estimate(
        self,
        task: Task,
        state: ESState,
        sigma: Array,
        fitness: Array,
        ids: Array,
        noise: noises.Noise | None,
    ) -> Params:
        """The scaled sum over members of weight times perturbation."""
        weights = shape_fitness(fitness.reshape(-1), self.rank_transform).reshape(-1, 2)

        def part(state: ESState, w: Array, ids: Array, noise: noises.Noise | None) -> Params:
            noise = self._draw(state, ids) if noise is None else noise
            return noises.weighted_sum(self.perturbation, state.params, noise, w)

        of_pair = task.blocks.whole((weights[:, 0] - weights[:, 1]).reshape(ids.shape))
        total = task.blocks.sum(part, state, of_pair, ids, noise)
        scale = self._scale(sigma)
        scaled: Params = jax.tree.map(lambda x: scale * x, total)
        return scaled

    def _scale(self, sigma: Array) -> Array:
        """What the estimate is scaled by, after `estimator`."""
        n = self.pop_size
        return 1.0 / (n * sigma) if self.estimator == "paper" else sigma * n**-0.5
