"""Where a generation's time goes, and how near it is to what no generation can beat.

The limit is the raw environment, at the number of lanes that suits it best, plus one unperturbed
forward pass a step, or the two in one rollout if that is faster. Every variant steps as often: on
the environment that never ends an episode, each member plays up to the horizon, so all lanes are
alive and nothing is won by packing.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rlbench.agents._es import EvolutionStrategy
from rlbench.bench import setup
from rlbench.bench.forward import in_queues
from rlbench.bench.scaling import stepper
from rlbench.bench.timing import interleaved
from rlbench.blocks import Blocks
from rlbench.env import Box, Discrete
from rlbench.meter import Compiled
from rlbench.policy import MLPPolicy
from rlbench.prepare import Prepared
from rlbench.rollout import play
from rlbench.seeding import run_streams

Variant = Callable[[], object]


def _arbitrary(space: Discrete | Box) -> Callable[[Any, Array, Array], Array]:
    """Actions all over the space, almost for free."""

    def act(member: Any, obs: Array, keys: Array) -> Array:
        x = jnp.sin(100.0 * obs)
        if isinstance(space, Discrete):
            return (jnp.abs(x[..., 0]) * 1e4).astype(jnp.int32) % space.n
        x = jnp.tile(x, -(-space.size // x.shape[-1]))[..., : space.size]
        low, high = jnp.asarray(space.low), jnp.asarray(space.high)
        return low + (x + 1.0) * 0.5 * (high - low)

    return act


def _playing(run: Prepared, act: Any, blocks: Blocks, horizon: int, shared: Any) -> Variant:
    """The population's episodes under `act(shared)`."""
    task, population = run.task, run.config.settings["pop_size"]
    queues, size = blocks.split(population, 1)
    keys = jax.random.split(jax.random.key(0), (queues, size, 1))

    def queue(shared: Any, keys: Array) -> Array:
        slots = blocks.slots(size, 1)
        at = blocks.refill_at(slots)
        done = play(task.env, act(shared), keys, horizon=horizon, slots=slots, refill_at=at)
        return jnp.sum(done.returns)

    here = jax.device_put((shared, keys), blocks.replicated)
    played = Compiled(lambda shared, keys: blocks.map(queue, shared, keys), *here)
    return lambda: played(*here)


def _env(run: Prepared, lanes: int, devices: int, horizon: int) -> Variant:
    actions = _arbitrary(run.task.env.spec.action)
    return _playing(run, lambda _: actions, Blocks(lanes, devices), horizon, None)


def _forward(run: Prepared, params: Any, horizon: int) -> Variant:
    """As many unperturbed passes, without an environment."""
    policy, blocks = run.task.policy, run.task.blocks
    assert isinstance(policy, MLPPolicy)
    population, size = run.config.settings["pop_size"], np.shape(params["layers"][0]["w"])[1]
    x = jax.random.normal(jax.random.key(2), (population, size))
    here = jax.device_put((params, x), blocks.replicated)
    passes = Compiled(in_queues(policy, blocks, None, population, horizon), *here, None)
    return lambda: passes(*here, None)


def _parts(run: Prepared, state: Any, horizon: int) -> dict[str, Variant]:
    """What a generation is made of, each by itself."""
    task, es = run.task, run.algorithm
    assert isinstance(es, EvolutionStrategy)
    pairs = es.pop_size // 2
    queues, size = es.blocks(task).split(pairs, 2)
    ids = jnp.arange(pairs).reshape(queues, size)
    sigma = jnp.float32(es.sigma)

    def mode(params: Any) -> Any:
        return lambda _, obs, keys: task.policy.mode(task.policy.apply(params, obs))

    draw = Compiled(lambda s: task.blocks.map(es._draw, s, ids, gather=False), state)
    noise = draw(state)
    perturbed = Compiled(
        lambda s, e: (
            task.blocks.map(lambda s, i, e: es._play(task, s, sigma, i, e), s, ids, e).returns
        ),
        state,
        noise,
    )
    fitness = jnp.arange(2.0 * pairs)
    update = Compiled(lambda s, e: es._estimate(task, s, sigma, fitness, ids, e), state, noise)
    return {
        "plain policy": _playing(run, mode, task.blocks, horizon, state.params),
        "draw": lambda: draw(state),
        "perturbed": lambda: perturbed(state, noise),
        "update": lambda: update(state, noise),
        "forward": _forward(run, state.params, horizon),
    }


def _split(samples: dict[str, list[float]], lanes: int) -> dict[str, float]:
    """Median seconds of a generation, by what they are spent on."""
    of = {name: float(np.median(values)) for name, values in samples.items()}
    env = of[f"env, {lanes} lanes"]
    return {
        "env_seconds": env,
        "policy_seconds": of["plain policy"] - env,
        "noise_seconds": of["draw"] + of["perturbed"] - of["plain policy"],
        "update_seconds": of["update"],
        "overhead_seconds": of["generation"] - of["perturbed"] - of["draw"] - of["update"],
    }


def generation(params: dict[str, Any]) -> dict[str, Any]:
    """Times a generation of eggroll, its parts, and the raw environment.

    Args:
        params: `env`, `pop_size`, `horizon`, `lanes` (those tried for the raw environment),
            `rounds`, `min_seconds`; optional: `network`.

    Returns:
        `samples` in seconds, each for `pop_size` x `horizon` env steps. `env` is the raw
        environment at its best number of lanes and devices, `limit` that and an unperturbed
        forward pass a step; `values`: the split.
    """
    horizon = setup.horizon_of(params)
    run = setup.unending(setup.prepared(params, "eggroll"))
    blocks = run.task.blocks
    state = jax.device_put(run.algorithm.init(run.task, run_streams(0)), blocks.replicated)
    variants = _parts(run, state, horizon) | {"generation": stepper(run)[0]}
    one = replace(blocks, devices=1)
    for lanes in sorted({blocks.lanes, *params["lanes"]}):
        variants[f"env, {lanes} lanes"] = _env(run, lanes, blocks.devices, horizon)
    if blocks.devices > 1:
        variants[f"env, {one.lanes} lanes, 1 device"] = _env(run, one.lanes, 1, horizon)
    samples = interleaved(variants, params["rounds"], params["min_seconds"])
    raw = {name: rows for name, rows in samples.items() if name.startswith("env, ")}
    best = min(raw, key=lambda name: float(np.median(raw[name])))
    samples["env"] = raw[best]
    # The pass may be faster between env steps than by itself; the harder limit counts.
    samples["limit"] = [
        min(env + alone, within)
        for env, alone, within in zip(
            raw[best], samples["forward"], samples["plain policy"], strict=True
        )
    ]
    steps = params["pop_size"] * horizon
    return {
        "samples": samples,
        "values": {
            **{name: {"simulated_env_steps": steps} for name in (*raw, "env", "generation")},
            **_split(samples, blocks.lanes),
            "best": f"raw env at its best: {best.removeprefix('env, ')}",
        },
    }
