"""One case in a process of its own: `python -m rlbench.bench.measure JSON`.

Prints one line of JSON: `{"samples": ..., "values": ...}`, or `{"skipped": reason}`. Whatever a
library prints goes to stderr.
"""

import json
import os
import sys
from contextlib import redirect_stdout
from typing import Any

from rlbench.installed import usable_cores
from rlbench.registry import resolve

KINDS = {
    "provenance": "rlbench.bench.setup:provenance",
    "forward": "rlbench.bench.forward:forward",
    "generation": "rlbench.bench.generation:generation",
    "memory": "rlbench.bench.memory:memory",
    "peers": "rlbench.bench.peers:peers",
    "scaling": "rlbench.bench.scaling:scaling",
    "start": "rlbench.bench.start:commands",
    "first_generation": "rlbench.bench.start:first_generation",
    "report": "rlbench.bench.views:report",
}
"""By kind: the function of a case's params that measures it."""
DEVICES_FLAG = "xla_force_host_platform_device_count"


def set_devices(params: dict[str, Any]) -> None:
    """Sets how many CPU devices jax will have; a flag of the user's own is left as it is."""
    devices = params.get("host_devices", min(2, usable_cores()))
    flags = os.environ.get("XLA_FLAGS", "")
    if devices is not None and DEVICES_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --{DEVICES_FLAG}={devices}".strip()


def function_of(kind: str) -> str:
    """The name of what measures a kind: of the benchmark, or else of a reproduction."""
    return KINDS.get(kind, f"rlbench.reproduce.measures.{kind}:measure")


def main() -> None:
    """Measures the case of the first argument."""
    case = json.loads(sys.argv[1])
    set_devices(case["params"])
    with redirect_stdout(sys.stderr):
        result = resolve(function_of(case["kind"]))(case["params"])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
