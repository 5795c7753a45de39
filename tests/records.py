"""Recorded runs: what of them must be equal, and changes by somebody who seals them anew."""

import json

from rlbench.files import digest
from rlbench.seal import sealed
from rlbench.store import read_run


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
