"""Curves end where their runs end, and a target that was not reached is not forgotten."""

import math

import numpy as np
import pytest

from rlbench.analysis.curves import Curve, band, on_grid, reached
from rlbench.analysis.findings import time_to_target
from rlbench.analysis.runs import find_runs

from .made_runs import evaluation, make_run


def runs(root):
    return find_runs([root]).runs


def test_straight_between_evaluations_and_nothing_outside():
    x = np.array([100.0, 200.0, 400.0])
    curve = Curve(x, x, x / 10, np.array([0.0, 10.0, 30.0]))
    found = on_grid(curve, "steps", np.array([0.0, 100.0, 150.0, 300.0, 400.0, 401.0]))
    np.testing.assert_array_equal(found, [np.nan, 0.0, 5.0, 20.0, 30.0, np.nan])
    assert on_grid(curve, "seconds", np.array([15.0]))[0] == 5.0


def test_the_mean_goes_on_with_the_runs_that_are_left_and_says_so(tmp_path):
    make_run(tmp_path, seed=0, final=50.0)
    make_run(tmp_path, seed=1, final=90.0)
    half = [evaluation(s, s / 100, 10.0) for s in (0, 250, 500)]
    make_run(tmp_path, seed=2, status="diverged", curve=half)
    one = band(runs(tmp_path), "steps", "x")
    np.testing.assert_array_equal(one.x, [0, 250, 500, 750, 1000])
    np.testing.assert_array_equal(one.runs, [3, 3, 3, 2, 2])
    np.testing.assert_allclose(one.mean, [10, 20, 30, 55, 70])
    assert one.complete == 3
    assert (one.low <= one.mean).all() and (one.mean <= one.high).all()


def test_seconds_end_with_the_first_finished_run(tmp_path):
    make_run(tmp_path, seed=0, seconds=10.0)
    make_run(tmp_path, seed=1, seconds=14.0)
    make_run(tmp_path, seed=2, seconds=2.0, status="failed")
    one = band(runs(tmp_path), "seconds", "x")
    assert one.x[-1] == 10.0 and one.runs[one.x <= 2.0].tolist() == [3] * (one.x <= 2.0).sum()
    assert (one.runs[one.x > 2.0] == 2).all()


def test_a_single_run_has_a_curve_and_no_interval(tmp_path):
    make_run(tmp_path)
    one = band(runs(tmp_path), "steps", "x")
    assert np.isnan(one.low).all() and one.mean[-1] == 100.0


def test_the_first_evaluation_at_the_target(tmp_path):
    make_run(tmp_path, final=100.0)
    (run,) = runs(tmp_path)  # 10, 32.5, 55, 77.5, 100 at 0, 250, ... env steps
    assert reached(run, 55.0) == (500.0, 5.0)
    assert reached(run, 55.1) == (750.0, 7.5)
    assert reached(run, 100.1) is None


@pytest.mark.parametrize(
    ("finals", "count", "steps"),
    [
        ([100.0, 100.0, 20.0], 2, 750.0),  # the median run reached it
        ([100.0, 20.0, 20.0], 1, math.inf),
        ([100.0, 20.0], 1, math.inf),  # half is not more than half
        ([20.0], 0, math.inf),
    ],
)
def test_runs_that_never_reach_it_are_endless(tmp_path, finals, count, steps):
    for seed, final in enumerate(finals):
        make_run(tmp_path, seed=seed, final=final)
    found = time_to_target(runs(tmp_path), 60.0)
    assert (found.count, found.steps) == (count, steps)
