"""Every algorithm is searched alike, and a draw is a trial only if its budget holds it."""

import re

import pytest

from rlbench.errors import UsageError
from rlbench.options import parse_assignments
from rlbench.sweep.resolver import Resolver
from rlbench.sweep.spec import read_file
from rlbench.tune import search

FILE = """
[defaults]
seeds = [1000, 1001]
budget = 20000
set = { hidden = [[8]] }
[[cell]]
env = "cartpole"
algo = ["eggroll", "open_es"]
[cell.random]
trials = 6
sigma = { log_uniform = [0.01, 1] }
pop_size = { choice = [4, 4096] }
"""


def read(tmp_path, text):
    (tmp_path / "s.toml").write_text(text)
    return read_file(tmp_path / "s.toml")


OPEN_ES = "[algo.open_es]\n"
UNFAIR = {
    FILE.replace("[cell.random]", "[algo.eggroll.random]"): "give it [cell.random]",
    FILE.replace("hidden = [[8]]", "rank = [1, 2]"): "is a grid",
    FILE.replace("sigma = { log_", "head_scale = { "): "all algorithms of a comparison share",
    FILE + OPEN_ES + "random = { trials = 3, sigma = { uniform = [0, 1] } }": "trials 3",
    FILE + OPEN_ES + "seeds = [1000]": "seeds [1000]",
    FILE + FILE[FILE.index("[[cell]]") :]: "searches twice",
}


@pytest.mark.parametrize("text", UNFAIR)
def test_what_is_not_fair_is_refused(text, tmp_path):
    with pytest.raises(UsageError, match=re.escape(UNFAIR[text])):
        search.check_fair(read(tmp_path, text))
    search.check_fair(read(tmp_path, FILE))


@pytest.mark.parametrize(
    ("change", "told"),
    [("budget = 30000", "30,000 env steps"), ("budget_seconds = 9", "a budget in seconds")],
)
def test_trials_are_equally_long(change, told, tmp_path):
    text = FILE.replace("4096", "8") + OPEN_ES + change
    with Resolver() as ask, pytest.raises(UsageError, match=told):
        search.check_budgets(search.draw(read(tmp_path, text), ask)[1])


def test_what_the_budget_cannot_hold_is_drawn_again_and_counted(tmp_path):
    file = read(tmp_path, FILE)
    with Resolver() as ask:
        sweep, jobs, redrawn = search.draw(file, ask)
        with pytest.raises(UsageError, match="smaller than one update"):
            search.draw(read(tmp_path, FILE.replace("[4, 4096]", "[4096]")), ask)
    assert len(jobs) == 2 * 2 * 6 and len({job.id for job in jobs}) == len(jobs)
    for group in file.groups:
        # The first draw of every trial that has the population which fits.
        thrown, wanted = 0, []
        for trial in range(6):
            again = 0
            while group.space.draw(group.env, group.algo, trial, again)["pop_size"] != 4:
                again += 1
            thrown += again
            wanted.append(group.space.draw(group.env, group.algo, trial, again))
        assert redrawn[f"{group.env} {group.algo}"] == thrown > 0
        for cell in sweep.cells:
            if cell.algo == group.algo:
                chosen = parse_assignments(cell.flags[cell.flags.index("--set") + 1 :: 2])
                assert {k: chosen[k] for k in ("sigma", "pop_size")} == wanted[cell.trial]
