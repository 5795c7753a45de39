"""Intervals against SciPy's own, and where there are none."""

import numpy as np
import pytest
from scipy import stats

from rlbench.comparison import agree, interval_of_difference, interval_of_mean, sample


def test_intervals_are_those_of_student_and_welch():
    rng = np.random.default_rng(0)
    for n, m in ((2, 3), (64, 100), (5, 200)):
        a, b = rng.normal(1.0, 3.0, n), rng.normal(2.0, 0.5, m)
        welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
        assert interval_of_difference(sample(a), sample(b)) == pytest.approx(tuple(welch))
        student = stats.ttest_1samp(a, 0.0).confidence_interval(0.95)
        assert interval_of_mean(sample(a)) == pytest.approx(tuple(student))


def test_scores_without_spread_have_an_interval_of_no_width():
    same, other = sample([500.0] * 3), sample([499.0] * 4)
    assert interval_of_mean(same) == (500.0, 500.0)
    assert interval_of_difference(same, same) == (0.0, 0.0)
    assert agree(same, same)
    assert interval_of_difference(same, other) == (1.0, 1.0)
    assert agree(same, other) is False


def test_one_of_them_may_be_without_spread():
    a, b = [500.0] * 10, [490.0, 500.0, 495.0]
    low, high = interval_of_difference(sample(a), sample(b))
    student = stats.ttest_1samp(500.0 - np.array(b), 0.0).confidence_interval(0.95)
    assert (low, high) == pytest.approx(tuple(student))
    assert agree(sample(a), sample(b))


def test_a_single_episode_has_none():
    assert interval_of_mean(sample([3.0])) is None
    assert interval_of_difference(sample([3.0]), sample([1.0, 2.0])) is None
    assert agree(sample([3.0]), sample([1.0, 2.0])) is None


def test_rounding_of_a_return_without_spread_is_no_difference():
    in_float32 = float(np.add.reduce(np.full(999, -0.1, np.float32), dtype=np.float32))
    assert in_float32 != -99.9
    assert agree(sample([in_float32] * 64), sample([-99.9] * 100))
    assert agree(sample([-99.8] * 64), sample([-99.9] * 100)) is False
