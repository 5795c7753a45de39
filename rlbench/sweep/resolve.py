"""Where the cells of a sweep will be written: `python -m rlbench.sweep.resolve`.

A process of its own, as it needs jax, and a sweep's driver must not hold an accelerator. Reads JSON
from stdin, a list of lists of flags; prints a JSON list of what `resolve_cell` says of each.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from rlbench import store
from rlbench.errors import UsageError
from rlbench.flags import parse_flags
from rlbench.options import RunOptions, resolve


def resolve_cell(flags: list[str]) -> dict[str, Any]:
    """A cell's path below --out, `budget_env_steps`, `budget_seconds` and `device`; or `error`."""
    try:
        config = resolve(parse_flags(RunOptions, flags, "rlbench run"))
        path = store.run_path(Path(), config)
    except UsageError as error:
        return {"error": str(error)}
    return {
        "path": path.as_posix(),
        "budget_env_steps": config.budget_env_steps,
        "budget_seconds": config.budget_seconds,
        "device": config.device,
    }


def main() -> None:
    """Resolves every cell of stdin."""
    cells = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        found = [resolve_cell(flags) for flags in cells]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
