"""Data as a reproduction's judge gets it: made by hand, or measured at the small scale."""

import tomllib
from importlib import import_module
from importlib.resources import files

from rlbench.analysis.reproduced.claim import Case, Data


def spec(name):
    return tomllib.loads(files("rlbench.sweeps.claims").joinpath(f"{name}.toml").read_text())


def small(name, case, **changes):
    """A case of sweeps/claims/NAME.toml, measured in this process at the small scale."""
    found, params = spec(name), dict(spec(name)["case"][case])
    params |= found["small"].get(case, {}) | changes
    measure = import_module(f"rlbench.reproduce.measures.{params.pop('measure')}").measure
    result = measure(params)
    return Case(case, params, result["samples"], result["values"])


def data(*cases):
    return Data("small", {case.name: case for case in cases}, [], {})


def verdicts(findings):
    return [finding.verdict for finding in findings]
