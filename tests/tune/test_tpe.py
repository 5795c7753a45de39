"""The sampler learns from what it is told."""

import math

import numpy as np
import pytest

from rlbench.sweep.claims import Claims
from rlbench.sweep.resolver import Resolver
from rlbench.sweep.spec import read_file
from rlbench.tune.outcome import Outcome, Trial, outcome, ranked
from rlbench.tune.tpe import Proposals
from tests.analysis.made_runs import evaluation, make_run

FILE = """
[defaults]
seeds = [1000]
budget = 20000
[[cell]]
env = "cartpole"
algo = "eggroll"
[cell.random]
trials = 40
sigma = { log_uniform = [1e-4, 1] }
pop_size = { choice = [4, 8, 4096] }
"""


def test_proposals_come_to_the_best_settings_and_fit_the_budget(tmp_path):
    (tmp_path / "s.toml").write_text(FILE)
    root = tmp_path / "out" / "s"
    root.mkdir(parents=True)
    chosen = []
    with Resolver() as ask, Claims(root) as claims:
        proposals = Proposals(read_file(tmp_path / "s.toml"), root, ask)
        for job in proposals:
            settings = dict(word.split("=") for word in job.flags if "=" in word)
            sigma, pop = float(settings["sigma"]), int(settings["pop_size"])
            assert pop < 4096
            # Best at sigma 0.01 and a population of 8.
            score = -((math.log10(sigma) + 2) ** 2) - (pop == 4)
            make_run(root, final=score, name=job.path)
            assert claims.claim(job.id)
            claims.finish(job.id, {"status": "ok"})
            proposals.told(job, "ok")
            chosen.append((abs(math.log10(sigma) + 2), pop))
        (study,) = proposals.studies
        trials = proposals.trials(study)
    assert len(chosen) == len(trials) == 40 and study.redrawn() > 0
    distance, pops = np.array(chosen).T
    # Uniform draws of [-4, 0] are 1.0 from the middle on average, and half of them take 4.
    assert distance[20:].mean() < 0.5 < distance[:10].mean()
    assert (pops[20:] == 8).mean() > 0.75
    best = ranked([outcome(root, trial) for trial in trials])[0]
    assert best.score == pytest.approx(max(-(d**2) - (p == 4) for d, p in chosen))


def test_the_best_is_the_highest_final_return_then_the_soonest(tmp_path):
    def ended(number, score, area):
        return Outcome(
            Trial(number, ()), "ok" if score is not None else "failed", score, area, 1, 1
        )

    given = [
        ended(0, 400.0, 399.0),
        ended(1, 500.0, 100.0),
        ended(2, None, 0.0),
        ended(3, 500.0, 300.0),
        ended(4, 500.0, 300.0),
        ended(5, -10.0, -9.0),
    ]
    assert [x.trial.number for x in ranked(given)] == [3, 4, 1, 0, 5]


def test_a_trial_is_its_runs_together(tmp_path):
    """Two tuning seeds: means of final returns and of curves; one that failed fails the trial."""
    from rlbench.sweep.plan import Job

    def job(seed):
        return Job(f"x-{seed}", "e", "a", seed, (), f"run-{seed}", 1000, None, "cpu")

    curves = [[0.0, 10.0, 20.0], [0.0, 50.0, 40.0]]
    for seed, values in enumerate(curves):
        rows = [evaluation(i * 500, i * 5.0, value) for i, value in enumerate(values)]
        make_run(tmp_path, seed=seed, curve=rows, name=f"run-{seed}")
    trial = Trial(0, (job(0), job(1)))
    with Claims(tmp_path) as claims:
        assert claims.claim("x-0") and claims.claim("x-1")
        claims.finish("x-0", {"status": "ok"})
        assert outcome(tmp_path, trial) is None
        claims.finish("x-1", {"status": "ok"})
        found = outcome(tmp_path, trial)
        assert (found.score, found.area) == (30.0, (10.0 + 30.0) / 2)
        assert (found.env_steps, found.train_seconds) == (2000, 20.0)
        claims.finish("x-1", {"status": "failed"})
        found = outcome(tmp_path, trial)
        assert (found.status, found.score, found.env_steps) == ("failed", None, 2000)
