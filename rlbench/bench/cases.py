"""What `rlbench bench` measures, as data: one case is one process. Imports no jax."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rlbench.errors import UsageError, nearest


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        name: unique; `--only` selects by its beginning.
        kind: which function measures it (`rlbench.bench.measure.KINDS`).
        params: what the function is given. `host_devices` (2 if left out, at most the cores there
            are) is how many CPU devices its process has, None for the user's own environment.
        quick: whether it belongs to `--quick`.
        timeout: seconds after which its process is ended.
    """

    name: str
    kind: str
    params: dict[str, Any]
    quick: bool
    timeout: float = 1800.0


# Most of a quick case is compilation, which a small network shortens.
_SMALL: dict[str, Any] = {"network": {"hidden": [16], "activation": "tanh", "head_scale": 1.0}}
_SHORT: dict[str, Any] = {"rounds": 2, "min_seconds": 0.02, **_SMALL}
_LONG: dict[str, Any] = {"rounds": 3, "min_seconds": 1.0}


def _start(quick: bool) -> list[Case]:
    commands = {"rounds": 3 if quick else 7, "host_devices": None}
    # A cold compilation of ant alone would take a third of --quick's time.
    env, population, steps = ("cartpole", 32, 50) if quick else ("ant", 128, 100)
    first = {
        "env": env,
        "algo": "eggroll",
        "set": [f"pop_size={population}", f"episode_steps={steps}"],
        "budget": str(population * steps),
        "rounds": 1 if quick else 2,
        "host_devices": None,
    }
    return [
        Case("start/commands" + "-quick" * quick, "start", commands, quick),
        Case(f"start/first-generation/{env}", "first_generation", first, quick),
    ]


def _forward(quick: bool, large: bool) -> list[Case]:
    # About a second a sample: the more members, the fewer passes.
    sizes: dict[int, tuple[int, ...]] = {
        64: (256, 4096, 65536),
        256: (256, 1024, 4096, 16384, 65536),
        1024: (256, 1024, 4096, *((16384, 65536) if large else ())),
    }
    if quick:
        sizes = {16: (64,)}
    shared = {
        "ranks": [1, 4] if quick else [1, 2, 4, 8],
        "lanes": 128,
        "rounds": 2 if quick else 4,
        "min_seconds": 0.02 if quick else 0.3,
    }
    return [
        Case(
            f"forward/{width}/{population}",
            "forward",
            {
                "width": width,
                "pop_size": population,
                "steps": max(5, min(100, 100 * 1024 // population * 256 // max(width, 256))),
                **shared,
            },
            quick,
        )
        for width, populations in sizes.items()
        for population in populations
    ]


def _generation(quick: bool) -> list[Case]:
    laptop = {"network": {"hidden": [32], "activation": "tanh", "head_scale": 0.01}}
    rows: list[tuple[str, int, int, list[int], dict[str, Any]]] = [
        ("cartpole", 1024, 500, [32, 64, 256, 1024], {}),
        ("inverted_double_pendulum", 1024, 100, [64, 128, 256], {}),
        ("ant", 1024, 100, [32, 128], {}),
        ("ant", 128, 100, [32], laptop),
    ]
    if quick:
        rows = [("cartpole", 64, 20, [], _SMALL)]
    shared = _SHORT if quick else {"rounds": 6, "min_seconds": 0.5}
    return [
        Case(
            f"generation/{env}/{population}x{horizon}" + "-laptop" * (network is laptop),
            "generation",
            {"env": env, "pop_size": population, "horizon": horizon, "lanes": lanes, **shared}
            | network,
            quick,
        )
        for env, population, horizon, lanes, network in rows
    ]


def _memory(quick: bool, large: bool) -> list[Case]:
    populations = (64,) if quick else (256, 1024, 4096, *((16384, 65536) if large else ()))
    network = _SMALL if quick else {}
    return [
        Case(f"memory/cartpole/{n}", "memory", {"env": "cartpole", "pop_size": n, **network}, quick)
        for n in populations
    ]


def _peers(quick: bool) -> list[Case]:
    rows = [("cartpole", 64, 20)] if quick else [("cartpole", 1024, 500), ("ant", 256, 100)]
    shared = _SHORT if quick else _LONG
    return [
        Case(
            f"peers/{env}/{population}x{horizon}",
            "peers",
            # Ants hardly ever fall within 100 steps: there a full horizon is the horizon.
            {
                "env": env,
                "pop_size": population,
                "horizon": horizon,
                "full_horizon": env == "cartpole" and not quick,
                **shared,
            },
            quick,
            timeout=3600.0,
        )
        for env, population, horizon in rows
    ]


def _scaling(quick: bool) -> list[Case]:
    shared = _SHORT if quick else _LONG
    populations = [2**k for k in (range(6, 9) if quick else range(6, 19))]
    cases = [
        Case(
            f"scaling/population/cartpole/{n}",
            "scaling",
            {"env": "cartpole", "pop_size": n, "axis": "population", **shared},
            quick,
        )
        for n in populations
    ]
    rows = [] if quick else [("cartpole", 1024, 0), ("ant", 128, 100)]
    cases += [
        Case(
            f"scaling/devices/{env}/{devices}",
            "scaling",
            {
                "env": env,
                "pop_size": population,
                "horizon": horizon,
                "axis": "devices",
                "host_devices": devices,
                **shared,
            },
            quick,
        )
        for env, population, horizon in rows
        for devices in (1, 2)
    ]
    return cases


def _report(quick: bool) -> list[Case]:
    size = {"envs": 2, "seeds": 2, "evaluations": 5} if quick else {"envs": 20, "seeds": 10}
    shared = {"rounds": 1 if quick else 3, "host_devices": None}
    return [
        Case("report" + "-quick" * quick, "report", {"evaluations": 200, **size, **shared}, quick)
    ]


def cases(quick: bool, large: bool) -> tuple[Case, ...]:
    """Every case of `--quick`, or of the whole benchmark, in the order of the report.

    Args:
        quick: small sizes, to see that everything works; no figures to quote.
        large: also sizes that need much memory or time.
    """
    found = [
        *_forward(quick, large),
        *_generation(quick),
        *_memory(quick, large),
        *_peers(quick),
        *_scaling(quick),
        *_start(quick),
        *_report(quick),
    ]
    return tuple(found)


def select(found: Iterable[Case], prefix: str) -> tuple[Case, ...]:
    """The cases whose name begins with the prefix; all of them if it is empty.

    Raises:
        UsageError: there are none; the nearest are offered.
    """
    known = tuple(found)
    chosen = tuple(case for case in known if case.name.startswith(prefix))
    if not chosen:
        kinds = [case.name.partition("/")[0] for case in known]
        offer = nearest(prefix, [*kinds, *(case.name for case in known if "/" in prefix)])
        raise UsageError(f"no benchmark case begins with {prefix!r}; {offer}")
    return chosen
