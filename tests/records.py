"""Recorded runs: what of them must be equal, and changes by somebody who seals them anew."""

import copy
import json
from functools import reduce
from operator import getitem

from rlbench.files import digest
from rlbench.seal import sealed
from rlbench.store import read_run

RUN = ["run", "--env", "cartpole", "--eval-episodes", "8", "--host-devices", "1", "--quiet"]
RUN += ["--checkpoint-seconds", "0"]
SMALL = ["--set", "pop_size=4", "--set", "hidden=[8]"]
RUNS = {
    "eggroll": [*SMALL, "--budget", "2e5"],
    "open_es": [*SMALL, "--set", "optimizer=adamw", "--set", "unroll=20", "--budget", "3e4"],
    "ppo": [
        *(f"--set={x}" for x in ("num_envs=4", "num_steps=16", "num_epochs=2")),
        *("--set=num_minibatches=2", "--budget", "4e3"),
    ],
}


def alter(run, name, change):
    """Applies `change` to a table of the run directory, or merges it if it is one."""
    table, status = (json.loads((run / n).read_text()) for n in (name, "status.json"))
    if name == "status.json":
        table = status
    if callable(change):
        change(table)
    else:
        table.update(change)
    table = table if name == "config.json" else sealed(table)
    (run / name).write_text(json.dumps(table))
    if name == "config.json":
        status["files"][name] = digest((run / name).read_bytes())
        (run / "status.json").write_text(json.dumps(sealed(status)))


def places(value, items=None):
    """The path of every value below, of a list's first `items` alone."""
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value[:items]):
            yield (name,)
            yield from ((name, *rest) for rest in places(inner, items))


def replaced(table, path, value=...):
    """A copy with another value there, or without one."""
    table = copy.deepcopy(table)
    inner = reduce(getitem, path[:-1], table)
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return table


def find(out):
    (path,) = out.glob("adhoc/*/*/seed-*")
    return path


def learned(path):
    """What must be equal, whatever happened on the way."""
    run = read_run(path)
    assert run.status["status"] == "ok"
    assert json.loads((path / "metrics.jsonl").read_text().splitlines()[0])["updates"] == 0
    steps = [row["simulated_env_steps"] for row in run.rows if row["kind"] == "updates"]
    assert steps == sorted(set(steps))  # no row twice
    assert steps[-1] == run.status["simulated_env_steps"]
    names = ("simulated_env_steps", "live_env_steps", "eval_env_steps", "updates")
    return (
        run.status["state_sha256"],
        [run.status[name] for name in names],
        [[row["updates"], row["returns"], row["lengths"]] for row in run.evaluations],
    )
