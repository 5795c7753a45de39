"""A run's complete configuration: what `config.json` holds and what its hash covers."""

import dataclasses
import hashlib
import json
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from rlbench.bounds import LARGEST, at_least, is_number, positive
from rlbench.errors import UsageError, nearest
from rlbench.network import Network

SCHEMA = 1
"""Version of the files in a run directory."""

NOT_HASHED = ("seed", "suite", "settings_source", "host_devices")
"""What does not make a run another cell of the comparison: results are the same bits on any number
of host devices, and the rest are labels."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run.

    Attributes:
        env: full id of the environment, backend included.
        algo: name of the algorithm.
        seed: root of the `init` and `train` key streams.
        budget_env_steps: simulated env steps to train for; None for no such limit.
        budget_seconds: training seconds (compilation and evaluation apart); None for no limit.
        settings: the algorithm's hyper-parameters, all of them.
        settings_source: where they come from.
        network: the policy network.
        eval_episodes: complete episodes in every evaluation.
        evaluations: evaluations at equal fractions of the budget, besides the one before training.
        block_lanes: most episodes stepped together; part of the hash, as it can change rounding.
        queues: fewest queues that episodes wait in; no more devices than queues can help.
        reduction: "ordered", or "psum": how an update's partial sums are added up.
        device: "cpu" or "gpu".
        host_devices: CPU devices this process splits the blocks over.
        suite: first folder of the run directory, a label.
    """

    env: str
    algo: str
    seed: int = 0
    budget_env_steps: int | None = None
    budget_seconds: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    settings_source: str = ""
    network: Network = field(default_factory=Network)
    eval_episodes: int = 64
    evaluations: int = 10
    block_lanes: int = 64
    queues: int = 2
    reduction: Literal["ordered", "psum"] = "ordered"
    device: Literal["cpu", "gpu"] = "cpu"
    host_devices: int = 1
    suite: str = "adhoc"

    def __post_init__(self) -> None:
        """Refuses numbers out of range.

        Raises:
            UsageError: says which, and what was expected.
        """
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed must be an integer from 0 to 2^31 - 1, not {self.seed}")
        at_least(self, 1, "eval_episodes", "evaluations", "block_lanes", "queues", "host_devices")
        steps, seconds = self.budget_env_steps, self.budget_seconds
        if steps is None and seconds is None:
            raise UsageError("a run needs a budget in env steps or in seconds")
        if steps is not None and steps < 1:
            raise UsageError(f"budget must be at least 1 env step, not {steps}")
        if seconds is not None:
            positive(self, "budget_seconds")

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    @property
    def hash(self) -> str:
        """8 hex digits over all that makes this a cell of its own; equal for all its seeds."""
        return cell_hash(self.to_json(), allow_nan=False)


def cell_hash(config: dict[str, Any], allow_nan: bool = True) -> str:
    """`RunConfig.hash` of a config.json as it is: another version may have other fields.

    Raises:
        ValueError: it holds NaN or infinity, which are not allowed.
    """
    kept = {k: v for k, v in config.items() if k not in NOT_HASHED}
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=allow_nan)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


T = TypeVar("T")


def build(cls: type[T], values: dict[str, Any], what: str) -> T:
    """Makes a dataclass from data that a person wrote, checking names and types.

    Args:
        cls: the dataclass.
        values: its fields' values.
        what: how the error calls it, e.g. "setting of eggroll".

    Raises:
        UsageError: an unknown name (the nearest is offered), a wrong type, a missing field.
    """
    known = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls))}
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in known:
            raise UsageError(f"unknown {what} {name!r}; {nearest(name, known)}")
    for name, f in known.items():
        needed = f.default is f.default_factory is dataclasses.MISSING
        if needed and name not in values:
            raise UsageError(f"{what} {name!r} is missing")
    return cls(**{k: coerce(v, hints[k], f"{what} {k!r}") for k, v in values.items()})


def coerce(value: Any, hint: Any, what: str) -> Any:
    """The value as the annotated type; integral floats pass as int, lists as tuples.

    Raises:
        UsageError: it is of another type.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType or origin is typing.Union:
        if value is None and type(None) in args:
            return None
        return coerce(value, next(a for a in args if a is not type(None)), what)
    if origin is Literal:
        if value in args:
            return value
        raise UsageError(f"{what} cannot be {value!r}; {nearest(str(value), map(str, args))}")
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(coerce(v, args[0], what) for v in items)
    return _scalar(value, origin or hint, what)


def _scalar(value: Any, kind: type, what: str) -> Any:
    number = is_number(value)
    if number and (kind is int or isinstance(value, int)) and LARGEST < abs(value) < math.inf:
        raise UsageError(f"{what} must be at most {LARGEST}, not {str(value)[:30]}")
    if kind is float and number:
        return float(value)
    if kind is int and number and float(value).is_integer():
        return int(value)
    if kind in (bool, str, dict) and isinstance(value, kind):
        return value
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return build(typing.cast(type, kind), value, what)
    wanted = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
    raise UsageError(f"{what} must be {wanted.get(kind, 'a table')}, not {value!r}")
