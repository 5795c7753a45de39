"""Configurations and flags made up at random: each is taken, or refused in a sentence."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlbench import cli, store
from rlbench.errors import UsageError
from rlbench.options import resolve
from rlbench.prepare import prepare
from tests.faults.common import Tally, inside, rlbench, tell, told_badly

GOOD: dict[str, Any] = {
    "schema": 1,
    "env": "cartpole",
    "algo": "eggroll",
    "seed": 0,
    "budget_env_steps": 300_000,
    "budget_seconds": None,
    "settings": {"pop_size": 8, "rank": 1, "sigma": 0.1},
    "settings_source": "made up",
    "network": {"hidden": [8], "activation": "tanh", "head_scale": 1.0},
    "eval_episodes": 4,
    "evaluations": 2,
    "block_lanes": 64,
    "queues": 2,
    "reduction": "ordered",
    "device": "cpu",
    "host_devices": 1,
    "suite": "adhoc",
}
NAMES = {
    "env": (
        "cartpole",
        "pendulum",
        "acrobot",
        "inverted_pendulum",
        "ant@",
        "gymnax/",
        "x/y",
        "a:B",
    ),
    "algo": ("eggroll", "open_es", "ppo", "ars", "snes", "random", "evosax/", "os:system", "PPO"),
    "activation": ("tanh", "relu", "pqn", "gelu"),
    "optimizer": ("sgd", "adam", "adamw", "lion"),
    "suite": ("adhoc", "..", "a/b", ".hidden", "-x", "x" * 65, "\x1b[31m", ""),
}
SETTINGS = (
    *(
        "pop_size",
        "rank",
        "sigma",
        "learning_rate",
        "lr_decay",
        "sigma_decay",
        "unroll",
        "optimizer",
    ),
    *("n_parallel_evaluations", "noise_reuse", "rank_transform", "episode_steps", "num_envs"),
    *("num_steps", "num_minibatches", "gamma", "normalize_observations", "elite_ratio", "typo"),
)
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 64, 1024, 10**6, 2**31, 2**63, -(2**63), 10**30),
    *(0.0, -0.0, 0.5, 1e-300, 1e300, float("nan"), float("inf"), -float("inf"), 1e6, 2.5),
    *("", "x", "nan", "1e6", "\x00", "\x1b[2J", "é" * 100, "../..", "[1,2]", "%s", "{}", "a:B"),
    *([], [1], [0], [-1], [1, 2, 3], [[8]], [None], ["a"], [1e400], {}, {"a": 1}, [8] * 1000),
)
RUN_EVERY = 100
"""Of those that are taken, how many are not run for each that is."""


def configs(folder: Path, many: int, seed: int) -> Tally:
    """Makes them up, and has them resolved and prepared as `rlbench run` does; some are run."""
    tally, chance = Tally("a made-up configuration or command line"), random.Random(seed)
    folder.mkdir(exist_ok=True)
    begun, taken = time.monotonic(), 0
    for i in range(many):
        file, argv = _made_up(folder / f"{i}", chance)
        fits, problem = _plan(argv)
        taken += fits
        if fits and taken % RUN_EVERY == 0:
            flags = [
                "--out",
                str(folder / "out"),
                "--overwrite",
                "--quiet",
                "--budget-seconds",
                "1",
            ]
            problem = told_badly(rlbench("run", *argv, *flags), (0, 2, 3))
        tally.count(f"{argv}: {problem} ({_content(file)})" if problem else "")
        if tally.tried % 500 == 0:
            tell(tally, many, begun)
    tally.what += f" ({taken:,} of them could be run)"
    return tally


def _content(file: Path) -> str:
    return repr(file.read_bytes()[:600]) if file.exists() else ""


def _plan(argv: list[str]) -> tuple[bool, str]:
    """All of `rlbench run` up to the run: whether it could be run, and what was lost."""

    def planned(words: list[str], prog: str) -> int:
        options = cli.run_flags(words, prog)
        config = resolve(options)
        path = store.run_path(Path(options.out), config)
        store.check_writable(path, options.overwrite, "")
        if config.network.hidden and max(config.network.hidden) > 1 << 14:
            raise UsageError("a test runs no such network")
        prepare(config)
        return 0

    done = _instead(planned, argv)
    problem = told_badly(done, (0, 2))
    return done.returncode == 0, problem


def _instead(planned: Callable[[list[str], str], int], argv: list[str]) -> Any:
    whole, cli.run_command = cli.run_command, planned  # type: ignore[assignment]
    try:
        return inside("run", *argv)
    finally:
        cli.run_command = whole


def _made_up(path: Path, chance: random.Random) -> tuple[Path, list[str]]:
    """A file with something wrong, or strange, or nothing; and the words that name it."""
    config = json.loads(json.dumps(GOOD))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        _change(config, chance)
    kind = chance.choice(("json", "json", "toml", "flags", "bytes"))
    file = path.with_suffix(".json" if kind != "toml" else ".toml")
    if kind == "flags":
        return file, _as_flags(config, chance)
    text = _toml(config) if kind == "toml" else json.dumps(config)
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if kind == "bytes":
        for _ in range(chance.randrange(1, 4)):
            where = chance.randrange(len(data))
            data[where : where + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    file.write_bytes(data)
    more = _as_flags({}, chance) if chance.random() < 0.2 else []
    return file, ["--config", str(file), *more]


def _change(config: dict[str, Any], chance: random.Random) -> None:
    table = chance.choice((config, config, config.get("settings"), config.get("network")))
    if not isinstance(table, dict):
        return
    names = [*table, *(SETTINGS if table is config.get("settings") else ())]
    name = chance.choice(names) if names else "x"
    what = chance.random()
    if what < 0.15:
        table.pop(name, None)
    elif what < 0.25:
        table[chance.choice((name[:-1], name.upper(), "x" * 300, "", "a b", "\x1b[1m"))] = 1
    elif name in NAMES and what < 0.8:
        table[name] = chance.choice(NAMES[name])
    else:
        table[name] = chance.choice(STRANGE)


def _toml(table: dict[str, Any]) -> str:
    """As a person might write it: what TOML does not have is written as JSON has it."""
    plain = [
        f"{json.dumps(k)} = {json.dumps(v)}" for k, v in table.items() if not isinstance(v, dict)
    ]
    inner = [f"[{json.dumps(k)}]\n{_toml(v)}" for k, v in table.items() if isinstance(v, dict)]
    return "\n".join([*(line for line in plain if not line.endswith("null")), *inner])


def _as_flags(config: dict[str, Any], chance: random.Random) -> list[str]:
    flags = []
    for name in ("env", "algo", "seed", "suite", "device", "reduction", "eval_episodes"):
        if name in config:
            flags += [f"--{name.replace('_', '-')}={config[name]}"]
    flags += [f"--budget={config.get('budget_env_steps')}"]
    settings = config.get("settings")
    for name, value in settings.items() if isinstance(settings, dict) else ():
        flags += ["--set", f"{name}={json.dumps(value) if chance.random() < 0.7 else value}"]
    strange = str(chance.choice(STRANGE))
    odd = (
        "--budget",
        "--seed",
        "--set",
        "--settings",
        "--max-memory",
        "--host-devices",
        "--bugdet",
    )
    odd += ("--checkpoint-seconds", "--config", "--hosts", "--out", "--algo", "--env", "--suite")
    if chance.random() < 0.5:
        flags += [chance.choice(odd), strange]
    return [flag.replace("\x00", "") for flag in flags]
