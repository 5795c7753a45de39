"""The best settings as a file that `--settings FILE` takes, with where they come from."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlbench import store
from rlbench.display import score
from rlbench.files import replace_file
from rlbench.installed import versions
from rlbench.settings import FILE_SCHEMA
from rlbench.tune.outcome import TOP, Ended, Outcome, ranked

HEAD = """\
# Settings found by `rlbench tune`; `--settings FILE` starts from them. The seeds they were tuned on
# are refused there: they have been looked at.
schema = {schema}
"""


def write_winners(path: Path, root: Path, sampler: str, searches: Sequence[Ended]) -> None:
    """Writes the winner of every search that has one.

    Args:
        path: of the file, replaced if it is there.
        root: OUT/NAME, which the runs are below.
        sampler: "random" or "tpe".
        searches: that are over.

    Raises:
        OSError: the disk refuses it.
    """
    parts = [HEAD.format(schema=FILE_SCHEMA)]
    for one in searches:
        best = ranked(one.outcomes)
        if best:
            parts.append(_section(one, best, root, sampler))
    replace_file(path, "\n".join(parts).encode(), "settings.toml")


def _section(one: Ended, best: Sequence[Outcome], root: Path, sampler: str) -> str:
    runs = [store.read_run(root / job.path) for job in best[0].trial.jobs]
    config = runs[0].config
    trials, top = len(one.outcomes), [x.score for x in best[:TOP]]
    source = (
        f"best of {trials} {sampler} trials of {config['budget_env_steps']:,} env steps in "
        f"{root.name}: {score(top[0])}, the next {', '.join(map(score, top[1:])) or 'none'}"
    )
    tuning = {
        "sweep": root.name,
        "sampler": sampler,
        "trials": trials,
        "failed": trials - len(best),
        "redrawn": one.redrawn,
        "seeds": sorted(int(run.config["seed"]) for run in runs),
        "budget_env_steps": config["budget_env_steps"],
        "env_steps": one.env_steps,
        "trial": best[0].trial.number,
        "searched": sorted(one.searched),
        "score": top[0],
        "top": top,
        "runs": [job.path for job in best[0].trial.jobs],
        "commit": runs[0].provenance.get("commit") or "unknown",
        "rlbench": versions()["rlbench"],
    }
    name = f"{json.dumps(one.env)}.{json.dumps(one.algo)}"
    return "\n".join(
        [
            _table(name, {"source": source}),
            _table(f"{name}.settings", config["settings"]),
            _table(f"{name}.network", config["network"]),
            _table(f"{name}.tuning", tuning),
        ]
    )


def _table(name: str, values: dict[str, Any]) -> str:
    """A TOML table of numbers, words, truths and lists of them, which are written as in JSON.

    What is None is left out: TOML has no such value, and a setting that is None is its default.
    """
    lines = [f"{k} = {json.dumps(v)}" for k, v in values.items() if v is not None]
    return "\n".join([f"[{name}]", *lines, ""])
