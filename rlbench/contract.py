"""What an environment and an algorithm must be, checked on shapes alone: nothing is computed.

Ours are held to it by the tests, those of others whenever they are used, before a run is written.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rlbench import plugins, registry
from rlbench.algorithm import AnyAlgorithm, Task
from rlbench.config import build
from rlbench.env import AnyEnv, Box, Discrete, EnvSpec, TimeStep, Vector, zero_action
from rlbench.errors import UsageError
from rlbench.plugins import Plugin
from rlbench.seeding import run_streams

METHODS = ("env_steps_per_update", "init", "step", "act")
COUNTS = ("simulated_env_steps", "live_env_steps")
RESERVED = frozenset(
    ("kind", "nonfinite", "finite", "updates", "eval_env_steps", "train_seconds", "eval_seconds")
)
"""What a row of metrics.jsonl holds besides an agent's metrics."""


class ContractError(UsageError):
    """An environment or an algorithm is not what the engine can run; the message says why."""


def guarded(who: str, plugin: Plugin | None, what: str, call: Callable[[], Any]) -> Any:
    """The call's result; what it raises is told as the plugin's own, with its traceback."""
    try:
        return call()
    except (UsageError, KeyboardInterrupt):
        raise
    except Exception as error:
        told = plugins.broken(plugin, f"raised in {what}", error)
        raise ContractError(str(told) if plugin else f"{who}: {told}", told.details) from None


def make_agent(entry: registry.AgentEntry, settings: dict[str, Any]) -> AnyAlgorithm:
    """The agent with these settings.

    Raises:
        UsageError: a setting is wrong, or a plugin is no algorithm.
    """
    cls = registry.load_agent(entry)
    if entry.plugin:
        params = getattr(cls, "__dataclass_params__", None)
        if not isinstance(cls, type) or params is None or not params.frozen:
            raise ContractError(
                f"{entry.plugin} must be a frozen dataclass whose fields are its settings, "
                f"not {cls!r}"
            )
        missing = [name for name in METHODS if not callable(getattr(cls, name, None))]
        if missing:
            raise ContractError(f"{entry.plugin} has no method {', '.join(missing)}")
    what = f"setting of {entry.name}"
    made: AnyAlgorithm = guarded(
        entry.name, entry.plugin, "its constructor", lambda: build(cls, settings, what)
    )
    return made


def make_env(entry: registry.EnvEntry) -> AnyEnv:
    """The environment; somebody's is checked.

    Raises:
        UsageError: a plugin is no environment.
    """
    env: AnyEnv = registry.make_env(entry)
    if entry.plugin:
        check_env(env, str(entry.plugin), entry.plugin)
    return env


def difference(before: Any, after: Any) -> str | None:
    """Where two pytrees of arrays differ in structure, shape or type, in words; None if nowhere."""
    old, new = (dict(jax.tree_util.tree_leaves_with_path(tree)) for tree in (before, after))
    for path in [*old, *(path for path in new if path not in old)]:
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "it"
        if path not in new or path not in old:
            return f"{name} {'vanishes' if path in old else 'appears'}"
        a, b = (f"{x[path].dtype}{list(x[path].shape)}" for x in (old, new))
        if a != b:
            return f"{name} is {a} before and {b} after"
    was, now = (str(jax.tree.structure(tree)) for tree in (before, after))
    return None if was == now else f"{was} becomes {now}"


def _is(x: Any, shape: tuple[int, ...], kind: Any) -> bool:
    return hasattr(x, "shape") and x.shape == shape and jnp.issubdtype(x.dtype, kind)


def _told(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}" if hasattr(x, "shape") else repr(x)


def check_spec(spec: Any, who: str) -> None:
    """Refuses what no `EnvSpec` can say.

    Raises:
        ContractError: names the field.
    """
    if not isinstance(spec, EnvSpec):
        raise ContractError(f"{who} must have a `spec` of type rlbench.env.EnvSpec, not {spec!r}")
    if not isinstance(spec.max_steps, int) or spec.max_steps < 1:
        raise ContractError(f"{who} must have max_steps of at least 1, not {spec.max_steps!r}")
    if not isinstance(spec.observation, Vector | Discrete):
        raise ContractError(
            f"{who} must have an observation of type Vector or Discrete, not {spec.observation!r}"
        )
    action = spec.action
    if isinstance(action, Box):
        good = len(action.low) == len(action.high) > 0 and all(
            low < high and math.isfinite(high - low)
            for low, high in zip(action.low, action.high, strict=True)
        )
    else:
        good = isinstance(action, Discrete) and action.n >= 1
    if not good:
        raise ContractError(
            f"{who} must have an action space Discrete(n) of at least one action, or Box(low, "
            f"high) with finite bounds, low < high, one a dimension; not {action!r}"
        )


def check_env(env: AnyEnv, who: str, plugin: Plugin | None = None) -> None:
    """Holds an environment to `rlbench.env.Env`.

    Raises:
        ContractError: says what was expected.
    """
    check_spec(getattr(env, "spec", None), who)
    key = jax.random.key(0)
    reset = guarded(who, plugin, "`reset`", lambda: jax.eval_shape(env.reset, key))
    if not isinstance(reset, tuple) or len(reset) != 2:
        raise ContractError(f"{who} must return (state, obs) from `reset`, not {_told(reset)}")
    state, obs = reset
    _check_obs(env.spec, obs, who, "`reset`")
    action = jax.eval_shape(lambda: zero_action(env.spec.action))
    out = guarded(who, plugin, "`step`", lambda: jax.eval_shape(env.step, key, state, action))
    if not isinstance(out, tuple) or len(out) != 2 or not isinstance(out[1], TimeStep):
        raise ContractError(f"{who} must return (state, rlbench.env.TimeStep) from `step`")
    after, now = out
    _check_obs(env.spec, now.obs, who, "`step`")
    changed = difference(state, after)
    if changed:
        raise ContractError(f"{who} changes the structure of its state in `step`: {changed}")
    if not _is(now.reward, (), jnp.floating):
        raise ContractError(f"{who} must give a float reward of shape [], not {_told(now.reward)}")
    for name, flag in (("terminated", now.terminated), ("truncated", now.truncated)):
        if not _is(flag, (), jnp.bool_):
            raise ContractError(f"{who} must give `{name}` as bool[], not {_told(flag)}")


def _check_obs(spec: EnvSpec, obs: Any, who: str, where: str) -> None:
    if isinstance(spec.observation, Discrete):
        good, wanted = _is(obs, (), jnp.integer), "an integer of shape []"
    else:
        size = spec.observation.size
        good, wanted = _is(obs, (size,), jnp.floating), f"floats of shape [{size}]"
    if not good:
        raise ContractError(
            f"{who} says that it observes {spec.observation} and must return {wanted} from "
            f"{where}, not {_told(obs)}"
        )


def check_action(spec: EnvSpec, action: Any, who: str) -> None:
    """Refuses an action of another shape or type than the environment's.

    Raises:
        ContractError: says what was expected.
    """
    if isinstance(spec.action, Discrete):
        good, wanted = _is(action, (), jnp.integer), "an integer of shape []"
    else:
        shape = (spec.action.size,)
        good, wanted = _is(action, shape, jnp.floating), f"floats of shape {list(shape)}"
    if not good:
        raise ContractError(f"{who} must return {wanted} from `act`, not {_told(action)}")


def check_algorithm(
    algorithm: AnyAlgorithm, task: Task, who: str, plugin: Plugin | None = None
) -> None:
    """Holds an algorithm to `rlbench.algorithm.Algorithm`.

    Raises:
        ContractError: says what was expected.
    """

    def traced(what: str, *args: Any) -> Any:
        call = getattr(algorithm, what)
        return guarded(
            who, plugin, f"`{what}`", lambda: jax.eval_shape(lambda *x: call(task, *x), *args)
        )

    most = guarded(
        who,
        plugin,
        "`env_steps_per_update`",
        lambda: algorithm.env_steps_per_update(task),
    )
    if not isinstance(most, int) or most < 1:
        raise ContractError(
            f"{who} must return an integer of at least 1 from `env_steps_per_update`, not {most!r}"
        )
    state = traced("init", run_streams(0))
    if not jax.tree.leaves(state):
        raise ContractError(f"{who} has no array in its state: updates could not be told apart")
    out = traced("step", state)
    if not isinstance(out, tuple) or len(out) != 2 or not isinstance(out[1], dict):
        raise ContractError(f"{who} must return (state, metrics) from `step`, metrics as a dict")
    changed = difference(state, out[0])
    if changed:
        raise ContractError(f"{who} changes the structure of its state in `step`: {changed}")
    _check_metrics(out[1], who)
    obs = jax.eval_shape(task.env.reset, jax.random.key(0))[1]
    check_action(task.env.spec, traced("act", state, obs, jax.random.key(0)), who)


def _check_metrics(metrics: dict[str, Any], who: str) -> None:
    for name in COUNTS:
        if name not in metrics:
            raise ContractError(
                f"{who} must report {name!r} in the metrics of `step`; "
                "rlbench.rollout.step_metrics(episodes) has both counts"
            )
        if not jnp.issubdtype(metrics[name].dtype, jnp.integer) or metrics[name].ndim > 1:
            raise ContractError(
                f"{who} must report {name!r} as an integer or a vector of integers, not "
                + _told(metrics[name])
            )
    for name, value in metrics.items():
        if name in RESERVED:
            raise ContractError(f"{who} must not report a metric called {name!r}: that is ours")
        if name not in COUNTS and (not hasattr(value, "shape") or value.shape != ()):
            raise ContractError(f"{who} must report scalars as metrics; {name!r} is {_told(value)}")


def settings_of(algorithm: AnyAlgorithm) -> dict[str, Any]:
    """An algorithm's hyper-parameters by name."""
    return {f.name: getattr(algorithm, f.name) for f in dataclasses.fields(algorithm)}  # type: ignore[arg-type]
