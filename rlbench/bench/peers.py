"""One generation of our algorithms beside what a user would pick instead.

Same environment, population, network, episode length, mirrored sampling and Adam; observations are
not normalised anywhere, and the timed generations do not learn. The peers are compiled with XLA's
own options, as their users would. Ours and the naive ES stop stepping when episodes have ended;
evosax always steps through the whole horizon, so that `eggroll_full` and `open_es_full`, on the
environment that never ends an episode, are its equals in env steps.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import optax

from rlbench import meter, registry
from rlbench.bench import naive, setup
from rlbench.bench.scaling import Tally, stepper
from rlbench.bench.timing import interleaved
from rlbench.env import Discrete
from rlbench.policy import ACTIVATIONS
from rlbench.prepare import Prepared
from rlbench.seeding import run_streams

Generation = Callable[[], dict[str, Any]]
"""Runs one generation, waits for it, and returns its metrics."""


def _naive(run: Prepared, params: dict[str, Any]) -> Generation:
    init, step = naive.generation(
        run.task,
        params["pop_size"],
        setup.SIGMA,
        setup.LEARNING_RATE,
        setup.horizon_of(params),
    )
    state = init(run_streams(0))
    update = meter.Compiled(step, state, options={})

    def call() -> dict[str, Any]:
        metrics: dict[str, Any] = update(state)[1]
        lockstep = int(metrics["longest"]) * params["pop_size"]
        return {**metrics, "simulated_env_steps": lockstep}

    return call


def _evosax_problem(run: Prepared, params: dict[str, Any]) -> Any:
    from evosax.problems import BraxProblem, GymnaxProblem
    from evosax.problems.networks import MLP, categorical_output_fn, tanh_output_fn

    entry = registry.find_env(params["env"])
    spec, network = run.task.env.spec, run.config.network
    discrete = isinstance(spec.action, Discrete)
    outputs = spec.action.n if isinstance(spec.action, Discrete) else spec.action.size
    policy = MLP(
        layer_sizes=(*network.hidden, outputs),
        activation=ACTIVATIONS[network.activation],
        output_fn=categorical_output_fn if discrete else tanh_output_fn,
    )
    shared = {"episode_length": setup.horizon_of(params), "use_normalize_obs": False}
    if entry.suite == "gymnax":
        return GymnaxProblem(env_name=entry.name, policy=policy, **shared)
    return BraxProblem(
        env_name=entry.name, policy=policy, env_kwargs={"backend": entry.backend}, **shared
    )


def _evosax(run: Prepared, params: dict[str, Any]) -> Generation:
    """Open_ES on evosax's own problem: ask, evaluation and tell in one jit."""
    from evosax.algorithms import Open_ES

    problem = _evosax_problem(run, params)
    key = jax.random.key(0)
    solution = problem.sample(key)
    algorithm = Open_ES(
        population_size=params["pop_size"],
        solution=solution,
        optimizer=optax.adam(setup.LEARNING_RATE),
        std_schedule=optax.constant_schedule(setup.SIGMA),
    )
    options = algorithm.default_params

    def step(state: Any, problem_state: Any, key: Any) -> Any:
        ask_key, eval_key, tell_key = jax.random.split(key, 3)
        population, state = algorithm.ask(ask_key, state, options)
        # The metrics hold every state of every episode: dropped inside the jit, never stored.
        fitness, problem_state, _ = problem.eval(eval_key, population, problem_state)
        state, _ = algorithm.tell(tell_key, population, -fitness, state, options)
        return state, problem_state

    start = (algorithm.init(key, solution, options), problem.init(key), key)
    update = meter.Compiled(step, *start, options={})
    every = params["pop_size"] * setup.horizon_of(params)

    def call() -> dict[str, Any]:
        update(*start)
        return {"simulated_env_steps": every}

    return call


def _generations(params: dict[str, Any]) -> tuple[dict[str, Generation], dict[str, str]]:
    """Every variant compiled, and why those that are missing are."""
    runs = {algo: setup.prepared(params, algo) for algo in ("eggroll", "open_es")}
    found: dict[str, Generation] = {}
    for algo, run in runs.items():
        found[algo] = stepper(run)[0]
        if params.get("full_horizon"):
            found[f"{algo}_full"] = stepper(setup.unending(run))[0]
    found["naive"] = _naive(runs["eggroll"], params)
    if importlib.util.find_spec("evosax") is None:
        return found, {"evosax": "evosax is not installed"}
    found["evosax"] = _evosax(runs["eggroll"], params)
    return found, {}


def peers(params: dict[str, Any]) -> dict[str, Any]:
    """Times a generation of each.

    Args:
        params: `env`, `pop_size`, `horizon`, `rounds`, `min_seconds`; `full_horizon`: also ours on
            the environment that never ends an episode.

    Returns:
        `samples` in seconds a generation; `values` by variant: env steps of a generation,
        simulated, and live where known (`skipped`: why a variant is missing).
    """
    found, skipped = _generations(params)
    variants = {name: Tally(call) for name, call in found.items()}
    samples = interleaved(variants, params["rounds"], params["min_seconds"])
    values: dict[str, Any] = {name: tally.steps() for name, tally in variants.items()}
    values |= {name: {"skipped": reason} for name, reason in skipped.items()}
    return {"samples": samples, "values": values}
