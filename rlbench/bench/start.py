"""What a person waits for: the commands that need no jax, and the first generation of a run."""

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from rlbench.bench.timing import interleaved

POLL_SECONDS = 0.02
COMMANDS = {"--help": ["--help"], "list envs": ["list", "envs"], "list agents": ["list", "agents"]}
CLOCKS = ("setup_seconds", "compile_seconds", "eval_compile_seconds", "eval_seconds")


def _rlbench(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rlbench", *arguments]


def commands(params: dict[str, Any]) -> dict[str, Any]:
    """Wall seconds of `rlbench --help` and of the lists, processes included.

    Args:
        params: `rounds`.
    """

    def run(arguments: list[str]) -> None:
        subprocess.run(_rlbench(*arguments), stdout=subprocess.DEVNULL, check=True)

    variants = {name: partial(run, given) for name, given in COMMANDS.items()}
    return {"samples": interleaved(variants, params["rounds"], 0.0), "values": {}}


def _has_update(metrics: Path) -> bool:
    """Whether a whole row of kind "updates" is written."""
    lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
    return any(line.endswith("\n") and json.loads(line)["kind"] == "updates" for line in lines)


def _first_generation(params: dict[str, Any], cache: Path, out: Path) -> dict[str, float]:
    """Wall seconds from a run's start to its first row of updates, and the run's clocks."""
    arguments = ["--env", params["env"], "--algo", params["algo"], "--budget", params["budget"]]
    arguments += [part for setting in params["set"] for part in ("--set", setting)]
    arguments += ["--eval-episodes", "1", "--out", str(out), "--quiet"]
    # The default folder below another home: what is measured is what a user gets unasked.
    env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    env["XDG_CACHE_HOME"] = str(cache)
    wall = None
    start = time.perf_counter()
    command = _rlbench("run", *arguments)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env) as process:
        try:
            while wall is None and process.poll() is None:
                time.sleep(POLL_SECONDS)
                if any(_has_update(path) for path in out.glob("**/metrics.jsonl")):
                    wall = time.perf_counter() - start
            process.wait()
        finally:
            process.kill()  # if this process is being ended, so is the run
    if wall is None or process.returncode:
        raise RuntimeError(f"the run ended with status {process.returncode} and wall time {wall}")
    (path,) = out.glob("**/status.json")
    status = json.loads(path.read_text(encoding="utf-8"))
    return {"wall": wall, **{name: status[name] for name in CLOCKS}}


def first_generation(params: dict[str, Any]) -> dict[str, Any]:
    """Wall seconds to the first generation, with an empty compile cache and then with a full one.

    Args:
        params: `env`, `algo`, `budget` (of one update), `set` (settings), `rounds`.

    Returns:
        `samples` of `cold` and `warm`, in seconds; `values`: the clocks of each run.
    """
    samples: dict[str, list[float]] = {"cold": [], "warm": []}
    values: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(params["rounds"]):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "cache"
            for name in ("cold", "warm"):
                told = _first_generation(params, cache, Path(folder) / name)
                samples[name].append(told.pop("wall"))
                values[name].append(told)
            if not any(path.is_file() for path in cache.glob("**/*")):
                raise RuntimeError("nothing was cached, so that warm would be cold")
    return {"samples": samples, "values": values}
