"""Full training runs with the shipped laptop settings against the thresholds of
sweeps/learning.toml; `make learning` runs them, about an hour on 2 cores.

Seconds depend on the machine: `max_train_seconds` is for 2 cores that do nothing else.
"""

import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rlbench import registry
from rlbench.store import read_run

ROOT = Path(__file__).resolve().parents[1]
CELLS = tomllib.loads((ROOT / "sweeps" / "learning.toml").read_text())["cell"]
CASES = [(cell, algo) for cell in CELLS for algo in cell["algo"]]


def test_cells_name_known_environments_and_agents():
    for cell, algo in CASES:
        assert registry.find_env(cell["env"]) and registry.find_agent(algo)
        budget = cell.get("budget", registry.find_env(cell["env"]).budget)
        assert budget <= cell.get("max_env_steps", 10**9)


@pytest.mark.learning
@pytest.mark.parametrize(("cell", "algo"), CASES, ids=[f"{c['env']}-{a}" for c, a in CASES])
def test_the_laptop_settings_learn(cell, algo, tmp_path):
    records = []
    for seed in cell["seeds"]:
        command = [sys.executable, "-m", "rlbench.run", "--env", cell["env"], "--algo", algo]
        command += ["--seed", str(seed), "--out", str(tmp_path), "--quiet"]
        if "budget" in cell:
            command += ["--budget", str(cell["budget"])]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
        records.append(read_run(Path(done.stdout.strip())))
        status = records[-1].status
        print(
            f"\n{cell['env']} {algo} seed {seed}: return {status['return_mean']:.1f}, "
            f"{status['simulated_env_steps']:,} env steps, {status['train_seconds']:.1f} s of "
            f"training, {status['compile_seconds']:.1f} s to compile",
            end="",
        )
    returns = [record.status["return_mean"] for record in records]
    assert min(returns) >= cell["worst"], returns
    assert statistics.median(returns) >= cell.get("median", cell["worst"]), returns
    for record in records:
        status = record.status
        assert status["simulated_env_steps"] <= cell.get("max_env_steps", float("inf"))
        assert status["train_seconds"] <= cell.get("max_train_seconds", float("inf"))
