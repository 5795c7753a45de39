"""Knee, slope and fall of made curves, and the rule on them."""

import math
import tomllib
from importlib import resources

import numpy as np

from rlbench.analysis.reproduced.claim import AGREE, DIFFER, UNTESTED, Case
from rlbench.analysis.reproduced.population_scaling import REPRODUCTION, curve, shape
from rlbench.analysis.reproduced.rounds import Spread
from rlbench.reproduce.measures.population_scaling import measure
from tests.reproduce.made_costs import NOTHING, data, drawn, verdicts

POPULATIONS = [2**k for k in range(1, 13)]


def case(throughput, evaluations=5):
    """Members a second by population, as seconds of a sample of so many evaluations a member."""
    names = {f"eggroll {n}": n for n in POPULATIONS}
    samples = {name: [n * evaluations / throughput(n)] * 3 for name, n in names.items()}
    values = {"evaluations": dict.fromkeys(names, evaluations)}
    return Case("forward", {"width": 256}, samples, values)


def both(throughput):
    return data(forward=case(throughput), generation=case(throughput))


def linear(n):
    return 7.0 * min(n, 300)


def test_a_curve_is_members_times_evaluations_over_seconds():
    found = curve(case(linear), "eggroll")
    assert list(found) == POPULATIONS
    np.testing.assert_allclose([each.median for each in found.values()], [*map(linear, found)])


def test_knee_slope_and_fall_of_a_power_that_levels_off_and_falls():
    made = {n: 3.0 * min(n, 128) ** 0.6 * (0.8 if n == 4096 else 1.0) for n in POPULATIONS}
    found = shape({n: Spread(v, v, v) for n, v in made.items()})
    # Half of 128^0.6 is reached from 128 / 2^(1 / 0.6) = 40 on.
    assert found.knee == 64 and found.below == (2, 4, 8, 16, 32)
    np.testing.assert_allclose(found.slope, 0.6)
    np.testing.assert_allclose(found.interval, (0.6, 0.6))
    np.testing.assert_allclose(found.fall, 0.2)


def test_the_interval_is_students():
    y = [2.0, 4.5, 7.0, 17.0]  # of the most, 100
    made = dict(zip((2, 4, 8, 16, 64), (*y, 100.0), strict=True))
    found = shape({n: Spread(v, v, v) for n, v in made.items()})
    x, logs = np.log([2, 4, 8, 16]), np.log(y)
    coefficients, covariance = np.polyfit(x, logs, 1, cov=True)  # scaled by residuals / (n - 2)
    half = 4.302652729911275 * math.sqrt(covariance[0, 0])  # Student's t, 97.5 %, 2 degrees
    np.testing.assert_allclose(found.interval, coefficients[0] + np.array([-half, half]))


def test_linear_growth_up_to_a_limit_agrees():
    assert verdicts(REPRODUCTION, both(linear)) == [AGREE, AGREE]


def test_slower_growth_and_a_fall_beyond_the_knee_differ():
    assert verdicts(REPRODUCTION, both(lambda n: linear(n) ** 0.8)) == [DIFFER, DIFFER]
    fallen = both(lambda n: linear(n) * (0.85 if n > 1000 else 1.0))
    assert verdicts(REPRODUCTION, fallen) == [DIFFER, DIFFER]
    assert verdicts(REPRODUCTION, both(lambda n: linear(n) * (0.95 if n > 1000 else 1.0))) == [
        AGREE,
        AGREE,
    ]


def test_without_populations_below_the_knee_or_without_cases_nothing_is_tested():
    assert verdicts(REPRODUCTION, both(lambda n: min(n, 8))) == [UNTESTED, UNTESTED]
    assert verdicts(REPRODUCTION, NOTHING) == [UNTESTED, UNTESTED]
    assert verdicts(REPRODUCTION, data(generation=case(linear))) == [UNTESTED, AGREE]
    drawn(REPRODUCTION, NOTHING)


def test_the_small_scale_is_measured_judged_and_drawn():
    folder = resources.files("rlbench.sweeps.claims")
    spec = tomllib.loads((folder / "population_scaling.toml").read_text())
    small, found = spec["small"], {}
    for name, params in spec["case"].items():
        params |= {k: v for k, v in small.items() if not isinstance(v, dict)} | small[name]
        made = measure(params)
        found[name] = Case(name, params, made["samples"], made["values"])
    counts = found["forward"].values["evaluations"]
    # As many as `row_passes` allow, within the bounds: 128 / 2, 128 / 8, 128 / 32.
    assert [counts[f"eggroll {n}"] for n in (2, 8, 32)] == [10, 10, 4]
    assert set(found["generation"].values["evaluations"].values()) == {1}
    drawn(REPRODUCTION, data(**found))
    assert len(REPRODUCTION.rows(data(**found))) == 2 * 3 + 2
