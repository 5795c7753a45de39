"""Seconds against population: of forward passes, and of whole EGGROLL generations."""

from typing import Any

from rlbench.bench.forward import forward
from rlbench.bench.scaling import scaling

VARIANTS = {"r=1": "eggroll", "best plain": "inference"}
"""Of a forward pass, those that are kept, and what they are called here."""


def _passes(params: dict[str, Any], population: int) -> tuple[dict[str, list[float]], int]:
    """Samples in seconds, and how many passes each member made."""
    steps = max(params["least_steps"], min(params["steps"], params["row_passes"] // population))
    asked = {"ranks": [1], "full_rank": False, "pop_size": population, "steps": steps}
    samples = forward({**params, **asked})["samples"]
    return {ours: samples[theirs] for theirs, ours in VARIANTS.items()}, steps


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Times every population, one after the other.

    Args:
        params: `populations`, `what` ("forward" or "generation"), `rounds`, `min_seconds`; for
            "forward" also `width`, `lanes` and, for how many passes are timed together, `steps` at
            most, `least_steps` at least, `row_passes` members times passes; for "generation" also
            `env`, and optionally `network` and `horizon`.

    Returns:
        `samples` in seconds by "VARIANT POPULATION"; `values`: `evaluations` by the same names, of
        a member in a sample.
    """
    samples: dict[str, list[float]] = {}
    evaluations: dict[str, int] = {}
    for population in params["populations"]:
        if params["what"] == "forward":
            found, count = _passes(params, population)
        else:
            found, count = scaling({**params, "pop_size": population})["samples"], 1
        for variant, seconds in found.items():
            samples[f"{variant} {population}"] = seconds
            evaluations[f"{variant} {population}"] = count
    return {"samples": samples, "values": {"evaluations": evaluations}}
