"""Numbers against rliable's, scipy's, and what an interval promises."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from rlbench.analysis import statistics as ours

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "rliable.json").read_text())
SCORES = {name: list(np.array(rows).T) for name, rows in ORACLE["scores"].items()}
THRESHOLDS = np.array(ORACLE["thresholds"])


@pytest.mark.parametrize("name", SCORES)
def test_aggregates_are_rliable_s(name):
    points = [ours.aggregate(what, SCORES[name]) for what in ORACLE["aggregates"]]
    np.testing.assert_allclose(points, ORACLE["points"][name], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", SCORES)
def test_their_intervals_are_rliable_s_within_monte_carlo_error(name):
    theirs = np.array(ORACLE["intervals"][name])
    for i, what in enumerate(ORACLE["aggregates"]):
        found = ours.aggregate_interval(what, SCORES[name], ours.generator(what, name))
        # An end is a 2.5 % quantile of 10,000 resamples: its standard error is about
        # sqrt(0.025 * 0.975 / 10,000) / density = 0.027 standard deviations, itself a quarter of
        # the width. Four of them, and theirs besides.
        width = theirs[1, i] - theirs[0, i]
        np.testing.assert_allclose(found, theirs[:, i], atol=4 * 1.1 * 0.027 * width / 3.9, rtol=0)


def test_improvement_is_rliable_s():
    for pair, value in ORACLE["improvement"].items():
        a, b = (SCORES[name] for name in pair.split(","))
        assert abs(ours.improvement(a, b) - value) < 1e-9
        assert abs(ours.improvement(b, a) - (1 - value)) < 1e-9
        found = ours.improvement_interval(a, b, ours.generator(pair))
        np.testing.assert_allclose(found, ORACLE["improvement_intervals"][pair], atol=0.01)


def test_improvement_is_mann_and_whitney_s_u_over_its_largest_value():
    x, y = np.array([1.0, 2.0, 2.0, 5.0]), np.array([2.0, 3.0, 0.0])
    u = scipy.stats.mannwhitneyu(x, y).statistic
    assert abs(ours.improvement([x], [y]) - u / 12) < 1e-12


@pytest.mark.parametrize("name", SCORES)
def test_profiles_are_rliable_s(name):
    found = ours.profile(SCORES[name], THRESHOLDS)
    np.testing.assert_allclose(found, ORACLE["profiles"][name], atol=1e-9, rtol=0)
    band = ours.profile_interval(SCORES[name], THRESHOLDS, ours.generator("profile", name))
    np.testing.assert_allclose(band, ORACLE["profile_intervals"][name], atol=0.03)


def test_the_interval_of_a_mean_is_scipy_s_at_the_expanded_level():
    x = np.random.default_rng(0).normal(size=10)
    low, high = ours.mean_interval(x, np.random.default_rng(1))
    theirs = scipy.stats.bootstrap(
        (x,),
        np.mean,
        n_resamples=50_000,
        confidence_level=ours.expanded_level(10),
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    np.testing.assert_allclose([low, high], theirs, atol=0.03)


def test_it_is_student_s_for_many_normal_runs():
    x = np.random.default_rng(3).normal(size=400)
    low, high = ours.mean_interval(x, np.random.default_rng(4))
    half = scipy.stats.t.ppf(0.975, 399) * x.std(ddof=1) / 20
    np.testing.assert_allclose([low, high], [x.mean() - half, x.mean() + half], atol=0.008)


def test_columns_are_resampled_together_and_as_they_would_be_alone():
    x = np.random.default_rng(5).normal(size=(8, 3))
    low, high = ours.mean_interval(x, np.random.default_rng(6))
    for i in range(3):
        alone = ours.mean_interval(x[:, i], np.random.default_rng(6))
        np.testing.assert_allclose([low[i], high[i]], alone, rtol=1e-12)


def coverage(n, draw, trials):
    hits = 0
    for i in range(trials):
        rng = np.random.default_rng([7, n, i])
        low, high = ours.mean_interval(draw(rng, n), rng)
        hits += bool(low <= 0.0 <= high)
    return hits / trials


def normal(rng, n):
    return rng.normal(size=n)


def test_coverage_of_the_interval_of_a_mean():
    trials = 2_000
    error = 3 * np.sqrt(0.95 * 0.05 / trials)
    ten, three = coverage(10, normal, trials), coverage(3, normal, trials)
    print(f"95 % interval of the mean of normal runs: n = 10 covers {ten:.1%}, n = 3 {three:.1%}")
    assert abs(ten - 0.95) < error
    # No resample leaves the range of its runs, which covers the mean in 1 - 2 / 2^n at most.
    assert three < 0.75 + error


def test_plain_percentiles_would_not_cover(monkeypatch):
    monkeypatch.setattr(ours, "expanded_level", lambda n: 0.95)
    assert coverage(10, normal, 2_000) < 0.95 - 3 * np.sqrt(0.95 * 0.05 / 2_000)


def test_iqm_is_the_mean_of_the_middle_half():
    assert ours.iqm(np.array([100.0, 1.0, 2.0, 3.0, 4.0, -50.0, 5.0, 6.0])) == 3.5


def test_a_use_has_its_own_generator_whatever_was_drawn_before():
    first = ours.generator("a", "b").random(3)
    ours.generator("c").random(100)
    assert (ours.generator("a", "b").random(3) == first).all()
    assert (ours.generator("ab").random(3) != first).all()
    assert (ours.generator("b", "a").random(3) != first).all()


def test_a_single_run_has_no_interval_and_equal_runs_have_none_wide():
    rng = np.random.default_rng(0)
    one, same = np.array([3.0]), np.full(5, 0.1)
    assert ours.mean_interval(one, rng) is None
    assert ours.aggregate_interval("IQM", [one, same], rng) is None
    assert ours.improvement_interval([one], [same], rng) is None
    assert ours.profile_interval([one], np.array([0.0]), rng) is None
    assert [float(x) for x in ours.mean_interval(same, rng)] == [0.1, 0.1]
    low, high = ours.aggregate_interval("mean", [same, same], rng)
    assert low == high == pytest.approx(0.1)
