"""The summary tells what the run directory holds, beside what a return is to be compared with."""

import subprocess
import sys
from pathlib import Path

from rlbench import registry
from rlbench.analysis.summary import rows, scale, sparkline
from rlbench.config import RunConfig
from rlbench.store import read_run
from rlbench.writer import RunWriter
from tests.analysis.made_runs import evaluation

ROOT = Path(__file__).resolve().parents[2]


def test_a_sparkline_runs_from_the_lowest_to_the_highest_bar():
    assert sparkline([0.0, 7.0, 3.5]) == "▁█▅"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([0.0, None, 1.0]) == "▁ █"
    assert sparkline([]) == ""


def test_an_ant_is_held_against_standing_still():
    measured = registry.scores("brax/ant@spring")
    assert abs(measured["do_nothing"] - 1000) < 5
    told = scale("brax/ant@spring")
    assert "doing nothing 1,000" in told and "random actions" in told


def test_another_backend_has_no_scores_and_says_so():
    assert scale("brax/ant@positional") == "not measured for this environment"


def test_an_unfinished_run_is_shown_with_its_status(tmp_path):
    config = RunConfig(env="gymnax/CartPole-v1", algo="eggroll", budget_env_steps=10)
    writer = RunWriter(tmp_path / "run", config, {"argv": []})
    writer.row(**evaluation(0, 0.0, 9.0, episodes=2))
    writer.close()
    told = dict(rows(read_run(tmp_path / "run")))
    assert told["return"].startswith("9 ± 1") and "2 episodes" in told["return"]
    assert told["status"].startswith("running")


def test_views_import_no_jax():
    code = "import sys, rlbench.analysis.summary; assert 'jax' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
