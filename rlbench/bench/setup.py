"""What the cases share: our algorithms set up as `rlbench run` would, and where they ran."""

import importlib.metadata
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from rlbench import machine, options, registry
from rlbench.env import AnyEnv, TimeStep
from rlbench.prepare import Prepared, prepare
from rlbench.types import Action, Key, Obs

NETWORK = {"hidden": [256, 256, 256], "activation": "pqn", "head_scale": 1.0}
"""The paper's network, unless a case says otherwise."""
SIGMA = 0.05
LEARNING_RATE = 1e-9
"""Generations that are timed must stay alike: a mean that learnt would play longer episodes."""
ES = {
    "n_parallel_evaluations": 1,
    "optimizer": "adam",
    "learning_rate": LEARNING_RATE,
    "lr_decay": 1.0,
    "sigma": SIGMA,
    "rank_transform": False,
    "deterministic_policy": True,
    "normalize_observations": False,
}
"""Settings with which all formulations of an ES do the same work."""


def prepared(params: dict[str, Any], algo: str, **settings: Any) -> Prepared:
    """An ES of ours on a case's environment, as the command line would resolve it.

    Args:
        params: `env`, `pop_size`; optional: `horizon` (env steps an episode is cut after),
            `network`, `host_devices`.
        algo: our agent's name.
        settings: of the algorithm, over `ES`.
    """
    entry = registry.find_env(params["env"])
    population, horizon = params["pop_size"], params.get("horizon", 0)
    given = {"pop_size": population, "episode_steps": horizon, **ES, **settings}
    given |= params.get("network", NETWORK)
    asked = options.RunOptions(
        env=params["env"],
        algo=algo,
        # Never spent: a case runs the updates that it times. It only has to allow for one.
        budget=str(100 * population * (horizon or entry.max_steps)),
        set=tuple(f"{k}={_toml(v)}" for k, v in given.items()),
        settings="laptop",
        host_devices=str(params["host_devices"]) if params.get("host_devices") else "",
    )
    return prepare(options.resolve(asked))


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def horizon_of(params: dict[str, Any]) -> int:
    """Env steps after which an episode of the case is cut."""
    return int(params.get("horizon") or registry.find_env(params["env"]).max_steps)


class Unending:
    """The environment without its own ends: every lane is alive up to the horizon."""

    def __init__(self, env: AnyEnv) -> None:
        """Takes the environment; the specification stays its own."""
        self.env = env
        self.spec = env.spec

    def reset(self, key: Key) -> tuple[Any, Obs]:
        """The environment's."""
        start: tuple[Any, Obs] = self.env.reset(key)
        return start

    def step(self, key: Key, state: Any, action: Action) -> tuple[Any, TimeStep]:
        """The environment's, which goes on."""
        state, now = self.env.step(key, state, action)
        never = jnp.zeros((), bool)
        return state, now._replace(terminated=never, truncated=never)


def unending(found: Prepared) -> Prepared:
    """The same run on the environment that never ends an episode."""
    task = replace(found.task, env=Unending(found.task.env))
    return replace(found, task=task)


def provenance(params: dict[str, Any]) -> dict[str, Any]:
    """Where the benchmark runs, as run directories record it, with evosax's version."""
    found = machine.provenance()
    try:
        found["versions"]["evosax"] = importlib.metadata.version("evosax")
    except importlib.metadata.PackageNotFoundError:
        found["versions"]["evosax"] = "not installed"
    return {"samples": {}, "values": found}
