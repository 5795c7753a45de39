"""From what a person asked for to a complete `RunConfig`.

Values come from, a later one over an earlier: the environment's table entry, the settings profile,
the configuration file, the flags.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from rlbench import registry
from rlbench.config import SCHEMA, RunConfig, build, coerce
from rlbench.errors import UsageError, nearest
from rlbench.flags import number, whole
from rlbench.given import read_given
from rlbench.installed import own_cache, usable_cores
from rlbench.settings import check_profile, check_seed, profile_settings

CACHE_BYTES = 1 << 30
"""Compiled programs that are kept; the least recently used go first."""


def _flag(value: str, hint: str) -> Any:
    """How the help shows a flag: its value, and its default in words."""
    return tyro.conf.arg(metavar=value or None, help_behavior_hint=f"({hint})" if hint else "")


@dataclass(frozen=True)
class RunOptions:
    """Train one algorithm on one environment, and record the run.

    Settings of the algorithm and of its network are given by --set NAME=VALUE; `--algo ALGO --help`
    lists them, with `--env ENV` also what is shipped for it.
    """

    env: Annotated[str, _flag("ENV", "required")] = ""
    """Environment: an alias (ant), an id (brax/ant), either with a backend (ant@positional); or
    package.module:Class."""
    algo: Annotated[str, _flag("ALGO", "required")] = ""
    """Algorithm: see `rlbench list agents`, or package.module:Class."""
    seed: Annotated[str, _flag("INT", "default: 0")] = ""
    """Root of the run's random streams."""
    budget: Annotated[str, _flag("STEPS", "default: the environment's")] = ""
    """Simulated env steps, dead ones included: 2e6, or "paper" for the paper's 5e8."""
    budget_seconds: Annotated[str, _flag("SECONDS", "default: no limit")] = ""
    """Training seconds, compilation and evaluation apart. The first limit reached ends the run."""
    set: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, _flag("NAME=VALUE", "repeatable")
    ] = ()
    """A setting: --set learning_rate=0.02 --set hidden=[64,64]."""
    settings: Annotated[str, _flag("PROFILE|FILE", "default: by device")] = ""
    """Settings to start from: laptop (the default on a CPU), paper (on an accelerator), or a file
    that `rlbench tune` wrote."""
    config: Annotated[str, _flag("FILE", "optional")] = ""
    """TOML file, or a run's config.json, which repeats that run; flags win over it."""
    out: Annotated[str, _flag("DIR", "default: results")] = "results"
    """Directory for run directories."""
    suite: Annotated[str, _flag("NAME", "default: adhoc")] = ""
    """First folder below it."""
    device: Annotated[str, _flag("cpu|gpu", "default: a GPU if there is one")] = ""
    """Where to compute."""
    host_devices: Annotated[str, _flag("INT", "default: the environment's")] = ""
    """CPU devices to split the work over, of each process; 1 if a run hangs."""
    hosts: Annotated[str, _flag("auto|HOST:PORT,HOST,...", "default: this process alone")] = ""
    """Processes of the run, each started with the same command: auto under srun, mpirun or
    Kubernetes; otherwise an entry each, and --host-index."""
    host_index: Annotated[str, _flag("INT", "with --hosts HOST:PORT,HOST,...")] = ""
    """Which of them this process is, from 0; process 0 listens on the port, and records."""
    reduction: Annotated[str, _flag("ordered|psum", "default: ordered")] = ""
    """How partial sums of an update are added up: ordered gives the same bits on any number of
    devices, psum leaves the order to them."""
    eval_episodes: Annotated[str, _flag("INT", "default: 64")] = ""
    """Complete episodes in every evaluation."""
    overwrite: Annotated[bool, _flag("", "")] = False
    """Replace an existing run."""
    resume: Annotated[bool, _flag("", "")] = False
    """Go on with an existing run from its last checkpoint; begin it if there is none."""
    checkpoint_seconds: Annotated[str, _flag("SECONDS", "default: 60")] = ""
    """Least time between two checkpoints."""
    max_memory: Annotated[str, _flag("SIZE", "default: what is available")] = ""
    """Do not begin a run whose process would need more memory: 8GiB."""
    allow_code: Annotated[bool, _flag("", "")] = False
    """Let --config name agents and environments as package.module:Class."""
    quiet: Annotated[bool, _flag("", "")] = False
    """Print nothing but the path of the run directory."""


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; values are TOML, or plain words.

    Raises:
        UsageError: there is no "=".
    """
    values: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            raise UsageError(f"--set takes NAME=VALUE, such as learning_rate=0.02, not {text!r}")
        try:
            values[name.strip()] = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = value.strip()
    return values


def read_config(path: Path) -> dict[str, Any]:
    """A configuration file as data: JSON if its name ends so, TOML otherwise.

    Raises:
        UsageError: missing, too large, malformed, or with unknown keys.
    """
    data = read_given(path, "config file")
    if not isinstance(data, dict):
        raise UsageError(f"config file {path} must hold a table, not a {type(data).__name__}")
    if data.pop("schema", SCHEMA) != SCHEMA:
        raise UsageError(f"config file {path} is of another schema than {SCHEMA}")
    known = RunConfig.__dataclass_fields__
    for key in data:
        if key not in known:
            raise UsageError(f"unknown key {key!r} in {path}; {nearest(key, known)}")
    for name, kind in (("settings", dict), ("network", dict), ("settings_source", str)):
        coerce(data.get(name, kind()), kind, f"{name} in {path}")
    return data


def refuse_code(names: Iterable[Any], where: Path | str) -> None:
    """Refuses to import what a file names.

    Args:
        names: of environments and agents, as the file has them.
        where: the file.

    Raises:
        UsageError: one of them is a `package.module:Class`.
    """
    for name in names:
        if ":" in str(name):
            raise UsageError(
                f"{where} names code that is not rlbench's, {name!r}, which would be imported and "
                "run; if you trust it, add --allow-code"
            )


def _budget(options: RunOptions, given: dict[str, Any], entry: registry.EnvEntry) -> None:
    """Fills in both limits: what is given, or the environment's default."""
    if options.budget == "paper":
        given["budget_env_steps"] = registry.paper_budget()
    elif options.budget:
        given["budget_env_steps"] = whole(options.budget, "--budget")
    if options.budget_seconds:
        given["budget_seconds"] = number(options.budget_seconds, "--budget-seconds")
        if not options.budget:
            given.setdefault("budget_env_steps", None)
    if given.get("budget_env_steps") is None and given.get("budget_seconds") is None:
        given["budget_env_steps"] = entry.budget


def _settings(
    options: RunOptions, given: dict[str, Any], env: str, agent: registry.AgentEntry, device: str
) -> None:
    """Fills in the settings of the algorithm and the network."""
    network_names = ("hidden", "activation", "head_scale")
    profile = options.settings or ("laptop" if device == "cpu" else "paper")
    settings, network, source = profile_settings(profile, env, agent)
    check_seed(profile, env, agent, given.get("seed", 0))
    if given.get("settings"):
        if options.settings:
            raise UsageError(
                "--settings cannot be combined with a config file that has settings; leave it out"
            )
        source = given.get("settings_source") or "config file"
    chosen = parse_assignments(options.set)
    mine = {k: v for k, v in chosen.items() if k not in network_names}
    theirs = {k: v for k, v in chosen.items() if k in network_names}
    given["settings"] = settings | given.get("settings", {}) | mine
    given["network"] = network | given.get("network", {}) | theirs
    changed = f"; changed: {', '.join(sorted(chosen))}" if chosen else ""
    given["settings_source"] = source + changed


def merge(options: RunOptions) -> tuple[dict[str, Any], registry.EnvEntry, registry.AgentEntry]:
    """What can be resolved without jax: the file, the names, and the plain flags.

    Raises:
        UsageError: something named does not exist.
    """
    given = read_config(Path(options.config)) if options.config else {}
    if not options.allow_code:
        # What is typed on the command line was chosen; what a file names may be a stranger's.
        untyped = [given.get(k, "") for k in ("env", "algo") if not getattr(options, k)]
        refuse_code(untyped, options.config)
    for name in ("env", "algo", "suite", "device", "reduction"):
        if getattr(options, name):
            given[name] = getattr(options, name)
    for name in ("seed", "host_devices", "eval_episodes"):
        if getattr(options, name):
            given[name] = whole(getattr(options, name), f"--{name.replace('_', '-')}")
    for name, kind in (("env", "envs"), ("algo", "agents")):
        if not given.get(name):
            raise UsageError(f"--{name} is missing; `rlbench list {kind}` shows the choices")
    entry = registry.find_env(str(given["env"]))
    agent = registry.find_agent(str(given["algo"]))
    if given.get("device", "cpu") not in ("cpu", "gpu"):
        raise UsageError(f"unknown device {given['device']!r}; choose from cpu, gpu")
    if options.settings:
        check_profile(options.settings)
    given |= {"env": entry.id, "algo": agent.name}
    return given, entry, agent


def set_up_jax(
    given: dict[str, Any], host_devices: int, start: Callable[[], None] = lambda: None
) -> str:
    """Chooses the device before jax starts its backends, and turns the compile cache on.

    Args:
        given: what `merge` returned; `host_devices` is filled in.
        host_devices: CPU devices to use unless told otherwise, and if there are as many cores.
        start: joins other processes' devices; called just before the backends start.

    Returns:
        "cpu" or "gpu".

    Raises:
        UsageError: a GPU was asked for and there is none.
    """
    wanted = given.setdefault("host_devices", min(host_devices, usable_cores()))
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags and isinstance(wanted, int):
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={wanted}".strip()
    import jax

    if cache := own_cache():
        jax.config.update("jax_compilation_cache_dir", str(cache))
        # Small programs too: a start has a hundred of them, and they add up to seconds.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        if "JAX_COMPILATION_CACHE_MAX_SIZE" not in os.environ:
            jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    if given.get("device") == "cpu":
        jax.config.update("jax_platforms", "cpu")
    start()
    found = "cpu" if jax.default_backend() == "cpu" else "gpu"
    if given.get("device") == "gpu" and found == "cpu":
        raise UsageError("--device gpu was asked for, but jax finds no GPU here; use --device cpu")
    return found


def check_device(entry: registry.EnvEntry, device: str) -> None:
    """Refuses what takes too long on a CPU to be of use.

    Raises:
        UsageError: offers the other backends.
    """
    if device == "cpu" and entry.backend in entry.only_accelerator:
        raise UsageError(
            f"env {entry.id!r} is refused on a CPU, where it takes minutes a second of play; "
            f"choose from {', '.join(b for b in entry.backends if b != entry.backend)}"
        )


def resolve(options: RunOptions, start: Callable[[], None] = lambda: None) -> RunConfig:
    """The complete configuration; imports jax.

    Args:
        options: the flags.
        start: as of `set_up_jax`.

    Raises:
        UsageError: anything asked for is wrong.
    """
    given, entry, agent = merge(options)
    device = given["device"] = set_up_jax(given, entry.host_devices, start)
    check_device(entry, device)
    from rlbench import contract

    if entry.plugin:  # after jax's flags are set: to import it may well start jax
        entry = registry.complete(entry, contract.make_env(entry))
    _budget(options, given, entry)
    _settings(options, given, entry.id, agent, device)
    if "block_lanes" not in given:
        # A CPU wants blocks that stay in its cache; an accelerator the whole population at once.
        given["block_lanes"] = entry.block_lanes if device == "cpu" else 1 << 16
        given.setdefault("queues", 2 if device == "cpu" else 1)
    algorithm = contract.make_agent(agent, given["settings"])
    given["settings"] = contract.settings_of(algorithm)
    return build(RunConfig, given, "key")
