"""Where the cells of a sweep will be written: `python -m rlbench.sweep.resolve`.

A process of its own, as it needs jax, and a sweep's driver must not hold an accelerator. Every line
of stdin is a JSON list of lists of flags; it is answered by a line, a JSON list of what
`resolve_cell` says of each.
"""

import contextlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from rlbench import contract, registry, store
from rlbench.config import RunConfig
from rlbench.env import AnyEnv
from rlbench.errors import BudgetError, UsageError
from rlbench.flags import parse_flags
from rlbench.options import RunOptions, resolve
from rlbench.prepare import check_budget, task_of


@cache
def _env(id: str) -> AnyEnv:
    return contract.make_env(registry.find_env(id))


def _check(config: RunConfig) -> None:
    """Refuses what the run would refuse at its start; code of others is left to the run."""
    agent, entry = registry.find_agent(config.algo), registry.find_env(config.env)
    if not (agent.plugin or entry.plugin):
        algorithm = contract.make_agent(agent, config.settings)
        check_budget(config, algorithm, task_of(config, _env(entry.id)))


def resolve_cell(flags: list[str]) -> dict[str, Any]:
    """A cell's path below --out, `budget_env_steps`, `budget_seconds` and `device`.

    Or `error`, and whether it is `over_budget`: its settings need more than the budget.
    """
    try:
        config = resolve(parse_flags(RunOptions, flags, "rlbench run"))
        path = store.run_path(Path(), config)
        _check(config)
    except UsageError as error:
        return {"error": str(error), "over_budget": isinstance(error, BudgetError)}
    return {
        "path": path.as_posix(),
        "budget_env_steps": config.budget_env_steps,
        "budget_seconds": config.budget_seconds,
        "device": config.device,
    }


def main() -> None:
    """Answers every line of stdin."""
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            found = [resolve_cell(flags) for flags in json.loads(line)]
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
