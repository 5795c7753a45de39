"""How long `rlbench report` takes over many runs, and how much memory. Imports no jax."""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from rlbench import registry
from rlbench.config import RunConfig
from rlbench.store import run_path
from rlbench.writer import RunWriter

ALGORITHMS = ("eggroll", "open_es", "ppo", "ars", "pgpe")
EPISODES = 64
BUDGET = 1_000_000


def write_run(out: Path, config: RunConfig, rng: np.random.Generator) -> None:
    """A run directory as a run would leave it, of a curve that rises to a plateau.

    Args:
        out: as `--out`.
        config: of the run; its evaluations are the curve's points.
        rng: of what is measured.
    """
    plateau, seconds = rng.normal(100, 10), rng.uniform(9, 11)
    hardware = {"platform": "cpu", "device_kind": "cpu", "device_count": 1}
    writer = RunWriter(run_path(out, config), config, {"argv": ["run.py"], "hardware": hardware})
    for i in range(config.evaluations + 1):
        share = i / config.evaluations
        returns = rng.normal(plateau * (1 - np.exp(-5 * share)), 5, EPISODES)
        totals: dict[str, Any] = {
            "simulated_env_steps": int(BUDGET * share),
            "live_env_steps": int(BUDGET * share),
            "train_seconds": seconds * share,
        }
        told = {"return_mean": float(returns.mean()), "return_std": float(returns.std())}
        lengths = rng.integers(100, 500, EPISODES).tolist()
        writer.row("evaluation", **totals, **told, returns=returns.tolist(), lengths=lengths)
        writer.row("updates", **totals, sigma=0.1)
    writer.close()
    memory = {"update_buffer_bytes": 1 << 20, "peak_rss_bytes": 1 << 30}
    writer.status("ok", **totals, state_sha256="", memory=memory)


def report(params: dict[str, Any]) -> dict[str, Any]:
    """Wall seconds of `rlbench report`, process included.

    Args:
        params: `envs` (how many environments), `seeds` (runs of each of five algorithms on each),
            `evaluations` (of a run), `rounds`.

    Returns:
        `samples` of `report`, in seconds; `values`: how many runs, and the process's peak.
    """
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "runs", Path(folder) / "report"
        rng, count = np.random.default_rng(0), 0
        for entry in registry.env_entries()[: params["envs"]]:
            for algo in ALGORITHMS:
                for seed in range(params["seeds"]):
                    config = RunConfig(
                        entry.id, algo, seed, BUDGET, evaluations=params["evaluations"]
                    )
                    write_run(root, config, rng)
                    count += 1
        samples = []
        for _ in range(params["rounds"]):
            start = time.perf_counter()
            command = [sys.executable, "-m", "rlbench", "report", str(root), "--out", str(out)]
            subprocess.run(command, capture_output=True, check=True)
            samples.append(time.perf_counter() - start)
    # Of the largest child; in KiB but on macOS.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "samples": {"report": samples},
        "values": {"runs": count, "peak_rss_bytes": peak * unit},
    }
