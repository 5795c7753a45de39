"""Plans are from what was measured."""

from pathlib import Path

import pytest

from rlbench.analysis.findings import find
from rlbench.analysis.runs import find_runs
from rlbench.sweep import board
from rlbench.sweep.plan import Job

RECORDED = Path(__file__).resolve().parents[2] / "results" / "recorded" / "short"


def test_speeds_are_the_medians_of_the_recorded_runs():
    findings = find(find_runs([RECORDED]))
    assert {t.env: set(t.entries) for t in findings.comparison.tasks} == {
        env: set(table) for env, table in board.speeds().items()
    }
    for (env, algo), one in findings.summaries.items():
        rate, besides = board.speeds()[env][algo]
        assert rate == pytest.approx(one.rate, rel=1e-3)
        assert besides == pytest.approx(one.compile + one.eval + one.setup, rel=1e-2)


def job(env, steps=None, seconds=None, device="cpu", flags=()):
    return Job("x", env, "ppo", 0, flags, "x", steps, seconds, device)


def test_an_estimate_is_the_nearer_limit_and_what_is_besides():
    rate, besides = board.speeds()["brax/ant@spring"]["ppo"]
    fixed = board.START_SECONDS + besides
    assert board.estimate(job("brax/ant@spring", 10_000_000)) == pytest.approx(1e7 / rate + fixed)
    assert board.estimate(job("brax/ant@spring", 10_000_000, 60.0)) == pytest.approx(60 + fixed)
    assert board.estimate(job("brax/hopper@spring", 1)) is None
    assert board.estimate(job("brax/ant@spring", 1, device="gpu")) is None
    # The recorded speeds are those of the laptop's settings.
    paper = ("--settings", "paper")
    assert board.estimate(job("brax/ant@spring", 1, flags=paper)) is None
    assert board.in_words([100.0, None, 20.0], 2) == (
        "about 1:00 with 2 at a time and an unknown time for 1 of unmeasured speed"
    )
