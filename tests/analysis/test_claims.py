"""A verdict is given where there is a difference, and hardly ever where there is none."""

import numpy as np
import pytest
import scipy.stats

from rlbench import registry
from rlbench.analysis import claims
from rlbench.analysis.runs import Curve, Run, find_runs
from rlbench.analysis.tasks import Entry, Task, compare
from rlbench.comparison import interval_of_difference, p_value, sample

from .made_runs import HARDWARE, make_cells, make_run


def run_of(value):
    """A finished run with this score, without a directory."""
    curve = Curve(*(np.array([x]) for x in (1.0, 1.0, 1.0, value)))
    return Run(
        "r",
        None,
        {"env": "e", "algo": "a", "seed": 0},
        {},
        {"status": "ok"},
        curve,
        0.0,
        1,
        True,
        "",
    )


def task_of(name, a, b):
    entries = {k: Entry(k, tuple(map(run_of, x))) for k, x in (("a", a), ("b", b))}
    return Task(name, name, "e", "", entries, None, False)


def test_holm_s_p_values():
    # Holm 1979: multiply by what is left, and never go down again.
    assert claims.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert claims.holm([0.6, 0.9]) == [1.0, 1.0]
    assert claims.holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_p_value_and_interval_are_scipy_s(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(1, 3, 6), rng.normal(0, 0.5, 9)
    theirs = scipy.stats.ttest_ind(x, y, equal_var=False)
    assert p_value(sample(x), sample(y)) == pytest.approx(theirs.pvalue, rel=1e-10)
    ends = theirs.confidence_interval(0.95)
    assert interval_of_difference(sample(x), sample(y)) == pytest.approx(tuple(ends), rel=1e-10)


def test_runs_without_spread_are_equal_or_not():
    same, other = sample([3.0] * 5), sample([4.0] * 5)
    assert (p_value(same, same), p_value(same, other)) == (1.0, 0.0)
    assert p_value(sample([1.0]), same) is None


NULLS = {
    "normal": lambda rng: rng.normal(100, 10, 5),
    "some collapse": lambda rng: np.where(rng.random(5) < 0.2, 10.0, 500 + rng.normal(0, 1, 5)),
    "skewed": lambda rng: rng.lognormal(0, 1, 5),
    "capped": lambda rng: np.minimum(rng.normal(495, 10, 5), 500.0),
}


@pytest.mark.parametrize("name", NULLS)
def test_reports_of_equal_algorithms_hardly_ever_find_one_better(name):
    reports, wrong = 500, 0
    for i in range(reports):
        rng = np.random.default_rng([1, i])
        tasks = [task_of(str(j), NULLS[name](rng), NULLS[name](rng)) for j in range(6)]
        found = claims.verdicts(tasks, "a", "b")
        wrong += any(claim.verdict in (claims.BETTER, claims.WORSE) for claim in found)
    print(f"{name}: {wrong} of {reports} reports of 6 tasks hold a false verdict")
    assert wrong / reports <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / reports)


def test_without_holm_they_would():
    wrong = 0
    for i in range(500):
        rng = np.random.default_rng([1, i])
        pairs = [(NULLS["normal"](rng), NULLS["normal"](rng)) for _ in range(6)]
        wrong += any(scipy.stats.ttest_ind(x, y, equal_var=False).pvalue < 0.05 for x, y in pairs)
    assert wrong / 500 > 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)


def test_a_planted_difference_is_found_and_has_a_sign(tmp_path):
    make_cells(tmp_path, {"eggroll": 120.0, "open_es": 100.0, "ppo": 100.0})
    comparison = compare(find_runs([tmp_path]).runs)
    found = {(p.first, p.second): p.claims[0].verdict for p in claims.pairs(comparison)}
    assert found == {
        ("eggroll", "open_es"): claims.BETTER,
        ("eggroll", "ppo"): claims.BETTER,
        ("open_es", "ppo"): claims.OPEN,
    }
    (against,) = [p for p in claims.pairs(comparison, "eggroll") if p.first == "ppo"]
    assert against.claims[0].verdict == claims.WORSE
    assert against.claims[0].difference == pytest.approx(-20.0)


def test_no_verdict_below_five_seeds_however_far_apart(tmp_path):
    make_cells(tmp_path, {"eggroll": 1e6}, seeds=5)
    make_cells(tmp_path, {"ppo": 0.0}, seeds=4)
    (pair,) = claims.pairs(compare(find_runs([tmp_path]).runs))
    assert pair.claims[0].verdict == claims.FEW and pair.claims[0].adjusted is None
    assert "too few seeds" in claims.in_words(pair)


def test_a_failed_run_counts_as_random_actions(tmp_path):
    make_cells(tmp_path, {"eggroll": 500.0}, seeds=4)
    make_run(tmp_path, "eggroll", 4, 500.0, status="diverged")
    (task,) = compare(find_runs([tmp_path]).runs).tasks
    random = registry.scores("gymnax/CartPole-v1")["random"]
    assert task.entries["eggroll"].scores[4] == random and random < 100
    assert (task.entries["eggroll"].failures, len(task.entries["eggroll"].counted)) == (1, 5)


def test_an_unfinished_run_is_not_counted(tmp_path):
    make_cells(tmp_path, {"eggroll": 500.0}, seeds=4)
    for seed, status in enumerate(("running", "interrupted", "skipped"), 4):
        make_run(tmp_path, "eggroll", seed, 1.0, status=status)
    (task,) = compare(find_runs([tmp_path]).runs).tasks
    assert len(task.entries["eggroll"].scores) == 4 and task.entries["eggroll"].unfinished == 3


def test_the_ratio_of_times_is_of_medians_of_finished_runs(tmp_path):
    make_cells(tmp_path, {"eggroll": 100.0}, seconds=10.0)
    make_cells(tmp_path, {"ppo": 100.0}, seconds=25.0)
    for seed in range(9, 16):
        make_run(tmp_path, "ppo", seed, 0.0, status="failed", seconds=0.1)
    (pair,) = claims.pairs(compare(find_runs([tmp_path]).runs))
    assert pair.speedup == pytest.approx(2.5)
    assert "2.5x less training time" in claims.in_words(pair)


def test_times_of_several_machines_have_no_ratio(tmp_path):
    make_cells(tmp_path, {"eggroll": 100.0})
    make_cells(tmp_path, {"ppo": 100.0}, hardware={**HARDWARE, "processor": "Another CPU"})
    (pair,) = claims.pairs(compare(find_runs([tmp_path]).runs, ["hardware"]))
    assert pair.speedup is None and "times are not comparable" in claims.in_words(pair)
