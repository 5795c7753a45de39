"""`rlbench export RUN`: the policy of a run directory, as files that need neither rlbench nor jax;
or its metrics, in the form of another tool.

The final state is restored by path into the structure that the algorithm's `init` would make,
checked against the run's status.json, and asked for its network.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from safetensors import SafetensorError
from safetensors.numpy import load, save

from rlbench import store
from rlbench.arrays import state_hash
from rlbench.card import SCHEMA, Card, FinalReturn, Space
from rlbench.errors import UsageError, nearest
from rlbench.exported import CARD, WEIGHTS, ExportedPolicy, Tensors
from rlbench.files import MAX_ARRAYS, clear_temporary, read_bytes, replace_file, to_json, writing
from rlbench.flags import flag, parse_flags
from rlbench.options import refuse_code, set_up_jax

if TYPE_CHECKING:
    from rlbench.prepare import Prepared
    from rlbench.types import Params


@dataclass(frozen=True)
class ExportOptions:
    """Write the policy of a run as safetensors, with a card that says how to play it."""

    run: Annotated[str, tyro.conf.Positional, flag("RUN", "required")] = ""
    """A run directory."""
    out: Annotated[str, flag("DIR", "default: RUN/export")] = ""
    """Directory for policy.json and policy.safetensors."""
    to: Annotated[str, flag("FORM", "default: policy")] = "policy"
    """policy, or tensorboard: the metrics as an event file, into RUN/tensorboard."""
    overwrite: Annotated[bool, flag("", "")] = False
    """Replace an export that is there."""
    allow_code: Annotated[bool, flag("", "")] = False
    """Import the agent and environment of a run that names them as package.module:Class."""


Mirror = Callable[[Path, Path | None, bool], str]
"""Writes a run's metrics in another form: from the run, to a folder (None for its own), replacing
what is there or not; returns what it wrote, in words."""


def export_command(argv: Sequence[str], prog: str, mirrors: Mapping[str, Mirror]) -> int:
    """`export`: restores, checks, writes; or lets one of the mirrors write."""
    options = parse_flags(ExportOptions, argv, prog)
    if not options.run:
        raise UsageError("say which run directory: `rlbench export RUN`")
    if options.to in mirrors:
        out = Path(options.out) if options.out else None
        print(mirrors[options.to](Path(options.run), out, options.overwrite))
        return 0
    if options.to != "policy":
        raise UsageError(
            f"--to cannot be {options.to!r}; {nearest(options.to, ['policy', *mirrors])}"
        )
    out = Path(options.out) if options.out else store.own(Path(options.run), "export")
    check_writable(out, options.overwrite)
    policy = export_run(Path(options.run), options.allow_code)
    write_export(policy, out)
    card, final = policy.card, policy.card.final_return
    print(
        f"{card.algo} of {card.env}, seed {card.seed}, network {card.network}: return "
        f"{final.mean:,.5g} ± {final.std:,.3g} over {final.episodes} episodes\nwritten to {out}"
    )
    return 0


def check_writable(out: Path, overwrite: bool) -> None:
    """Refuses a folder that holds an export, or that could not be made.

    Raises:
        UsageError: says which, and what to do.
    """
    taken = [name for name in (CARD, WEIGHTS) if (out / name).exists()]
    if taken and not overwrite:
        raise UsageError(f"{out / taken[0]} exists; --overwrite replaces it, --out goes elsewhere")
    store.check_writable(out, True, "")


def write_export(policy: ExportedPolicy, out: Path) -> None:
    """Writes both files, the card last.

    Raises:
        UsageError: they cannot be written.
    """
    text = to_json(policy.card.to_json(), indent=2) + "\n"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        clear_temporary(out)
        replace_file(out / WEIGHTS, save(policy.tensors), "export")
        replace_file(out / CARD, text.encode(), "export")


def export_run(path: Path, allow_code: bool = False) -> ExportedPolicy:
    """The final policy of a run directory; imports jax, and with `allow_code` what the run names.

    Raises:
        UsageError: it is not one, it has no final state, its files do not belong to each other, or
            its agent does not play with the shared network.
    """
    record = store.read_run(path)
    prepared, state = restore_run(record, allow_code)
    status, final = record.status, record.evaluations[-1]
    told = ("status", "simulated_env_steps", "live_env_steps", "updates", "train_seconds")
    return export_state(
        prepared,
        state,
        final_return=FinalReturn(final["return_mean"], final["return_std"], len(final["returns"])),
        trained={name: status[name] for name in told},
        provenance={name: record.provenance.get(name) for name in ("commit", "dirty", "versions")},
        state_sha256=status["state_sha256"],
    )


def restore_run(record: store.RunRecord, allow_code: bool = False) -> tuple["Prepared", Any]:
    """A run's environment, network and algorithm once more, and its final state.

    With `allow_code` what the run names as package.module:Class is imported.

    Raises:
        UsageError: it has no final state that was evaluated, or another than status.json names.
    """
    status, path = record.status, record.path
    if status["status"] not in ("ok", "interrupted") or "state_sha256" not in status:
        raise UsageError(f"{path} has no final policy: its status is {status['status']!r}")
    if not allow_code:
        refuse_code((record.config.get("env"), record.config.get("algo")), path)
    prepared = _prepare(dict(record.config), path)
    import jax

    from rlbench.seeding import run_streams
    from rlbench.state import restore_state

    file = path / "policy.safetensors"
    try:
        arrays = load(read_bytes(file, MAX_ARRAYS))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except SafetensorError as error:
        raise UsageError(f"{file} is not a safetensors file: {error}") from None
    if state_hash(arrays) != status["state_sha256"]:
        raise UsageError(f"{file} is not the state that status.json names: its sha256 is another")
    streams = run_streams(prepared.config.seed)
    like = jax.eval_shape(lambda: prepared.algorithm.init(prepared.task, streams))
    return prepared, restore_state(like, arrays)


def _prepare(data: dict[str, Any], path: Path) -> "Prepared":
    from rlbench import registry
    from rlbench.config import SCHEMA as RUN_SCHEMA
    from rlbench.config import RunConfig, build

    if data.pop("schema", None) != RUN_SCHEMA:
        raise UsageError(f"{path} is of another schema than {RUN_SCHEMA}")
    config = build(RunConfig, data, f"key of {path / 'config.json'}")
    set_up_jax({}, registry.find_env(config.env).host_devices)
    from rlbench.prepare import prepare

    return prepare(config)


def export_state(
    prepared: "Prepared",
    state: Any,
    *,
    final_return: FinalReturn,
    trained: dict[str, Any],
    provenance: dict[str, Any],
    state_sha256: str,
) -> ExportedPolicy:
    """The policy of an algorithm's state, and its card.

    Raises:
        UsageError: the agent does not play with the shared network.
    """
    from rlbench.algorithm import PlaysNetwork
    from rlbench.replay import space_of

    config, spec = prepared.config, prepared.task.env.spec
    if not isinstance(prepared.algorithm, PlaysNetwork):
        raise UsageError(
            f"agent {config.algo!r} does not play with the shared policy network, so there is no "
            "policy to export"
        )
    tensors, clip = _tensors(*prepared.algorithm.network(prepared.task, state))
    observation, action = space_of(spec.observation), space_of(spec.action)
    card = Card(
        schema=SCHEMA,
        env=spec.id,
        max_steps=spec.max_steps,
        algo=config.algo,
        seed=config.seed,
        network=config.network,
        observation=observation,
        action=action,
        observation_clip=clip,
        how_to_act=_how_to_act(observation, action, config.network.activation, clip),
        final_return=final_return,
        trained=trained,
        provenance=provenance,
        state_sha256=state_sha256,
        weights_sha256=hashlib.sha256(save(tensors)).hexdigest(),
    )
    return ExportedPolicy(card, tensors)


def _tensors(params: "Params", moments: Any) -> tuple[Tensors, float | None]:
    """The network's arrays by their names in an export, and the clip of normalised observations."""
    from rlbench.normalizer import CLIP, scaling
    from rlbench.state import state_arrays

    tensors = {name: np.ascontiguousarray(x) for name, x in state_arrays(params).items()}
    if moments is not None:
        mean, scale = scaling(moments)
        tensors |= {"normalizer.mean": np.asarray(mean), "normalizer.scale": np.asarray(scale)}
    return tensors, None if moments is None else CLIP


ACTIVATIONS = {
    "pqn": "pqn(x) = max(0, (x - mean(x)) / sqrt(var(x) + 1e-5)), over the features",
    "tanh": "tanh",
    "relu": "relu(x) = max(0, x)",
}


def _how_to_act(
    observation: Space, action: Space, activation: str, clip: float | None
) -> tuple[str, ...]:
    """The computation, a sentence a step."""
    steps = ["All in float32."]
    if observation.kind == "discrete":
        steps.append(f"x = one-hot code of the observation, of size {observation.size}.")
    elif clip is None:
        steps.append("x = the observation, flattened in row-major order.")
    else:
        steps.append(
            "x = (observation - normalizer.mean) * normalizer.scale, the observation flattened in "
            f"row-major order; then clipped to [-{clip:g}, {clip:g}]."
        )
    steps.append("For every layer N from 0 on: x = layers.N.w @ x + layers.N.b.")
    steps.append(f"After every layer but the last: x = activation(x); {ACTIVATIONS[activation]}.")
    if action.kind == "discrete":
        steps.append("The action is the index of the largest x, the first of equals.")
    else:
        steps.append("The action is low + (clip(x, -1, 1) + 1) / 2 * (high - low), by dimension.")
        steps.append("log_std is of the Gaussian around x that training may have sampled from.")
    return tuple(steps)
