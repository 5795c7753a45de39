"""Verdicts about returns and speed, of made runs that must agree, differ, or decide nothing."""

import dataclasses

import numpy as np
import pytest

from rlbench.analysis.claims import LEVEL
from rlbench.analysis.reproduced import (
    loss,
    noise_reuse,
    rank_sensitivity,
    rl_curves,
    rl_wallclock,
)
from rlbench.analysis.reproduced.claim import AGREE, DIFFER, UNTESTED, Data
from rlbench.analysis.runs import find_runs
from rlbench.analysis.scores import Scale
from rlbench.analysis.style import styled
from rlbench.analysis.tasks import compare
from tests.analysis.made_runs import make_cells

EMPTY = Data("laptop", {}, (), {})
ANT = "brax/ant@spring"
ALGOS = ("eggroll", "open_es")


def data(root, scale="laptop"):
    return Data(scale, {}, find_runs([root]).runs, {})


def verdicts(of, found):
    return [finding.verdict for finding in of.REPRODUCTION.judge(found)]


def changed(mean, spread=0.02, seeds=5, rng=None):
    rng = rng or np.random.default_rng(0)
    a, b = rng.normal(mean, spread, seeds), rng.normal(0, spread, seeds)
    side = loss.sample
    ends = loss.interval_of_difference(side(a), side(b))
    return loss.Change("x", a.mean() - b.mean(), *ends, loss.p_value(side(a), side(b)), seeds)


def test_a_loss_is_found_where_there_is_one_and_a_gain_is_none():
    assert loss.verdict([changed(0.0), changed(0.3)]) == AGREE
    assert loss.verdict([changed(0.0), changed(-0.3)]) == DIFFER
    assert loss.verdict([changed(0.0, spread=0.5)]) == UNTESTED
    assert loss.verdict([changed(0.0, seeds=4)]) == UNTESTED
    assert loss.verdict([]) == UNTESTED


def test_without_a_difference_a_loss_is_found_in_at_most_its_share():
    """Of 1,000 sets of four comparisons; 2.5 % is nominal, one side of 5 %, and 4 % is 3 standard
    errors above it. Without Holm's correction it is nearly 10 %."""
    rng = np.random.default_rng(1)
    sets = [[changed(0.0, 0.3, rng=rng) for _ in range(4)] for _ in range(1_000)]
    assert np.mean([loss.verdict(one) == DIFFER for one in sets]) < 0.04
    bare = [any(one.p <= 1 - LEVEL and one.mean < 0 for one in four) for four in sets]
    assert np.mean(bare) > 0.06


def test_the_mean_change_is_that_of_normalised_scores(tmp_path):
    make_cells(tmp_path, {"eggroll": 400.0, "open_es": 300.0}, env="gymnax/CartPole-v1")
    make_cells(tmp_path, {"eggroll": -200.0, "open_es": -700.0}, env="gymnax/Pendulum-v1")
    tasks = compare(find_runs([tmp_path]).runs).tasks
    mean, low, high = loss.mean_change(tasks, "eggroll", "open_es")
    spans = [task.scale.reference - task.scale.random for task in tasks]
    assert mean == pytest.approx((100.0 / spans[0] + 500.0 / spans[1]) / 2)
    assert low < mean < high and high - low < 0.05
    without = [dataclasses.replace(task, scale=None) for task in tasks]
    assert loss.mean_change(without, "eggroll", "open_es") is None
    assert loss.mean_change([], "eggroll", "open_es") is None


def test_change_is_normalised(tmp_path):
    make_cells(tmp_path, {"eggroll": 60.0, "open_es": 40.0}, spread=1.0)
    (task,) = compare(find_runs([tmp_path]).runs).tasks
    scale = Scale(random=0.0, reference=200.0, source="")
    one = loss.change("x", scale, task.entries["eggroll"], task.entries["open_es"])
    assert one.mean == pytest.approx(0.1) and one.low < 0.1 < one.high


@pytest.mark.parametrize(
    "ours, spread, expected", [(450.0, 5, AGREE), (200.0, 5, DIFFER), (450.0, 200, UNTESTED)]
)
def test_curves(tmp_path, ours, spread, expected):
    means = {"eggroll": ours, "open_es": 450.0, "ppo": 450.0}
    make_cells(tmp_path, means, env="gymnax/CartPole-v1", spread=spread)
    make_cells(tmp_path, {"eggroll": 0.0, "open_es": 5e4}, env="gymnax/Acrobot-v1")  # not theirs
    assert verdicts(rl_curves, data(tmp_path)) == [expected, UNTESTED]
    assert verdicts(rl_curves, data(tmp_path, "paper")) == [expected, expected]
    assert {row["env"] for row in rl_curves.rows(data(tmp_path))} == {"gymnax/CartPole-v1"}


def ranks(root, means, full=1_000.0, **options):
    for rank, mean in means.items():
        make_cells(root, {"eggroll": mean}, env=ANT, settings={"rank": rank}, **options)
    make_cells(root, {"open_es": full}, env=ANT, **options)


@pytest.mark.parametrize(
    "means, full, options, expected",
    [
        ({1: 1_000.0, 2: 1_000.0, 8: 900.0}, 1_000.0, {}, AGREE),
        ({1: 1_000.0, 2: 1_000.0, 8: 2_000.0}, 1_000.0, {}, DIFFER),
        ({1: 1_000.0, 2: 1_000.0}, 2_000.0, {}, DIFFER),
        ({1: 1_000.0, 2: 1_000.0}, 1_000.0, {"spread": 900.0}, UNTESTED),
        ({1: 1_000.0, 2: 1_000.0}, 1_000.0, {"seeds": 3}, UNTESTED),
        ({2: 1_000.0, 4: 1_000.0}, 1_000.0, {}, UNTESTED),
    ],
)
def test_ranks(tmp_path, means, full, options, expected):
    ranks(tmp_path, means, full, **options)
    found = data(tmp_path)
    assert verdicts(rank_sensitivity, found) == [expected]
    assert len(rank_sensitivity.rows(found)) == options.get("seeds", 5) * (len(means) + 1)


@pytest.mark.parametrize("same, expected", [(480.0, AGREE), (200.0, DIFFER), (495.0, AGREE)])
def test_reuse(tmp_path, same, expected):
    for reuse, mean in ((1, 480.0), (0, same)):
        make_cells(tmp_path, {"eggroll": mean}, settings={"noise_reuse": reuse})
    assert verdicts(noise_reuse, data(tmp_path)) == [expected]


def speeds(root, seconds, env="gymnax/CartPole-v1", size=(512, 1)):
    for algo, took in seconds.items():
        settings = {"pop_size": size[0], "n_parallel_evaluations": size[1]}
        make_cells(root, {algo: 400.0}, seeds=2, env=env, seconds=took, settings=settings)


def test_wall_clock(tmp_path):
    """Faster by 2 on CartPole, as the paper has it, and slower on the double pendulum, likewise."""
    pendulum = "brax/inverted_double_pendulum@spring"
    speeds(tmp_path, {"eggroll": 10.0, "open_es": 20.0}, size=(2048, 1))
    speeds(tmp_path, {"eggroll": 30.0, "open_es": 20.0}, env=pendulum, size=(2048, 1))
    speeds(tmp_path, {"eggroll": 10.0, "open_es": 15.0})
    found = data(tmp_path)
    assert verdicts(rl_wallclock, found) == [AGREE, AGREE]
    assert [round(one.value, 3) for one in rl_wallclock.ratios(found)] == [0.667, 2.0, 1.5]
    speeds(tmp_path, {"eggroll": 10.0, "open_es": 9.0}, env=ANT, size=(2048, 1))
    speeds(tmp_path, {"eggroll": 10.0, "open_es": 9.0}, env=ANT)
    assert verdicts(rl_wallclock, data(tmp_path)) == [DIFFER, DIFFER]


def test_wall_clock_that_overlaps_decides_nothing(tmp_path):
    for seed, took in enumerate((8.0, 12.0)):
        for algo, factor in (("eggroll", 1.0), ("open_es", 1.1)):
            settings = {"pop_size": 512, "n_parallel_evaluations": 1}
            make_cells(tmp_path / str(seed), {algo: 400.0}, seeds=1, seconds=took * factor,
                       settings=settings)  # fmt: skip
    assert verdicts(rl_wallclock, data(tmp_path)) == [UNTESTED, UNTESTED]
    assert (
        "seeds of one kind differ by up to 1.50x" in rl_wallclock.judge(data(tmp_path))[1].measured
    )


@pytest.mark.parametrize("of", [rl_curves, rl_wallclock, rank_sensitivity, noise_reuse])
def test_figures_hold_the_runs_and_none_is_no_mistake(of, tmp_path):
    assert set(verdicts(of, EMPTY)) == {UNTESTED} and not of.rows(EMPTY)
    settings = {"rank": 1, "noise_reuse": 1, "pop_size": 512, "n_parallel_evaluations": 1}
    root = tmp_path / "whole"
    make_cells(root, {"eggroll": 900.0, "open_es": 800.0}, env=ANT, settings=settings)
    found = data(root)
    with styled():
        of.draw(EMPTY).savefig("/dev/null", format="png")
        figure = of.draw(found)
        figure.savefig("/dev/null", format="png")
    drawn = [x for axes in figure.axes for line in axes.lines for x in _ends(line)]
    finals = {
        algo: [r.status["return_mean"] for r in found.runs if r.algo == algo] for algo in ALGOS
    }
    # The mean of either's final returns; all runs take equally long, so that speeds are as 1.
    wanted = [1.0] if of is rl_wallclock else [np.mean(each) for each in finals.values()]
    assert all(any(np.isclose(x, w) for x in drawn) for w in wanted)


def _ends(line):
    """The last point of a line, either coordinate."""
    return [np.atleast_1d(values)[-1] for values in line.get_data() if len(np.atleast_1d(values))]
