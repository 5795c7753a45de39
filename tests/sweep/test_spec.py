"""A sweep file is the runs it says, or one sentence about what is wrong with it."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from rlbench import sweeps
from rlbench.errors import UsageError
from rlbench.flags import parse_flags
from rlbench.options import RunOptions, parse_assignments
from rlbench.sweep.cells import expand
from rlbench.sweep.command import find_file, parse_shard, shipped
from rlbench.sweep.spec import read_file


def cells(tmp_path, text, name="s.toml"):
    (tmp_path / name).write_text(text)
    return expand(read_file(tmp_path / name)).cells


def settings(cell):
    return parse_assignments(parse_flags(RunOptions, cell.flags, "run").set)


def test_a_cell_is_every_env_with_every_algo_seed_and_choice(tmp_path):
    found = cells(
        tmp_path,
        """
        [[cell]]
        env = ["cartpole", "ant"]
        algo = ["eggroll", "open_es"]
        seeds = 3
        set = { pop_size = [16, 32], hidden = [[64, 64]] }
        """,
    )
    assert len(found) == 2 * 2 * 3 * 2
    assert [cell.seed for cell in found] == sorted(cell.seed for cell in found)
    assert {settings(cell)["pop_size"] for cell in found} == {16, 32}
    assert all(settings(cell)["hidden"] == [64, 64] for cell in found)
    assert {cell.env for cell in found} == {"gymnax/CartPole-v1", "brax/ant@spring"}


def test_later_tables_win_key_by_key(tmp_path):
    (tmp_path / "base.toml").write_text(
        """
        about = "the base"
        [defaults]
        budget = 1e5
        set = { sigma = 0.1, pop_size = 8 }
        [algo.ppo]
        budget = 7
        """
    )
    found = cells(
        tmp_path,
        """
        include = ["base.toml"]
        [[cell]]
        env = ["cartpole", "pendulum"]
        algo = ["eggroll", "ppo"]
        budget = 2e5
        set = { sigma = 0.2 }
        [env.pendulum]
        budget = "paper"
        """,
    )
    flags = {
        (c.env.partition("/")[2], c.algo): parse_flags(RunOptions, c.flags, "run") for c in found
    }
    budgets = {key: options.budget for key, options in flags.items()}
    assert budgets == {
        ("CartPole-v1", "eggroll"): "200000",
        ("CartPole-v1", "ppo"): "7",
        ("Pendulum-v1", "eggroll"): "paper",
        ("Pendulum-v1", "ppo"): "7",
    }
    assert settings(found[0]) == {"sigma": 0.2, "pop_size": 8}


def test_a_shipped_file_can_be_included_from_anywhere(tmp_path):
    text = 'include = ["paper_space.toml"]\n[[cell]]\nenv = "cartpole"\nalgo = "ppo"\n'
    assert len(cells(tmp_path, text)) == 20
    # One's own file of that name comes first.
    (tmp_path / "paper_space.toml").write_text("[algo.ppo.random]\ntrials = 3\ngamma.choice=[1]")
    assert len(read_file(tmp_path / "s.toml").groups) == 1
    assert read_file(tmp_path / "s.toml").groups[0].space.trials == 3
    with pytest.raises(UsageError, match="cannot read sweep file"):
        cells(tmp_path, text.replace("paper_space.toml", "../sweeps/paper_space.toml"))


RANDOM = """
    [[cell]]
    env = ["cartpole", "pendulum"]
    algo = "eggroll"
    seeds = [7]
    [cell.random]
    trials = 300
    seed = 3
    learning_rate = { log_uniform = [1e-4, 1e-1] }
    sigma = { uniform = [0.1, 0.5] }
    rank_transform = { choice = [true, false] }
"""


def test_random_settings_have_their_distribution_and_come_again(tmp_path):
    found = cells(tmp_path, RANDOM)
    assert found == cells(tmp_path, RANDOM, "again.toml")
    assert found != cells(tmp_path, RANDOM.replace("seed = 3", "seed = 4"), "other.toml")
    drawn = {env: [settings(c) for c in found if c.env == env] for env in {c.env for c in found}}
    one, other = drawn.values()
    assert one != other and len(one) == len(other) == 300
    rates = [math.log10(s["learning_rate"]) for s in one]
    assert scipy.stats.kstest(rates, scipy.stats.uniform(-4, 3).cdf).pvalue > 0.001
    sigmas = [s["sigma"] for s in other]
    assert scipy.stats.kstest(sigmas, scipy.stats.uniform(0.1, 0.4).cdf).pvalue > 0.001
    share = np.mean([s["rank_transform"] for s in one])
    assert abs(share - 0.5) < 4 * 0.5 / math.sqrt(300)


CELL = '[[cell]]\nenv = "cartpole"\nalgo = "eggroll"\n'
WRONG = {
    "": "has no [[cell]]",
    "x = 1": "unknown key 'x'",
    "[[cell]]\nalgo = 'ppo'": "has no env",
    "[[cell]]\nenv = 'cartpool'\nalgo = 'ppo'": "did you mean 'cartpole'",
    "[[cell]]\nenv = 'cartpole'\nalgo = 'egroll'": "did you mean 'eggroll'",
    CELL + "budgt = 3": "did you mean 'budget'",
    CELL + "budget = [1]": "budget of cell 0",
    CELL + "seeds = []": "seeds of cell 0",
    CELL + "seeds = 0": "seeds of cell 0",
    CELL + "seeds = [-1]": "seeds of cell 0",
    CELL + "seeds = [1, 1]": "a cell twice",
    CELL + CELL: "a cell twice",
    CELL + "set = { rank = [] }": "empty grid",
    CELL + "set = 3": "must be a table",
    CELL + "random = { trials = 2 }": "distributions",
    CELL + "random = { sigma = { uniform = [0, 1] } }": "needs whole trials",
    CELL + "random = { trials = 2, seed = 0.5, sigma = { uniform = [0, 1] } }": "a whole number",
    CELL + "random = { trials = 2, sigma = 0.1 }": "one distribution",
    CELL + "random = { trials = 2, sigma = { unifrm = [0, 1] } }": "did you mean 'uniform'",
    CELL + "random = { trials = 2, sigma = { uniform = [1, 0] } }": "low below high",
    CELL + "random = { trials = 2, sigma = { log_uniform = [0, 1] } }": "above 0",
    CELL + "random = { trials = 2, sigma = { choice = [] } }": "must be a list",
    CELL
    + "random = { trials = 2, rank = { choice = [1] } }\nset = { rank = 1 }": "both set and drawn",
    "include = ['s.toml']\n" + CELL: "includes itself",
    "include = ['missing.toml']\n" + CELL: "cannot read sweep file",
    "cell = 3": "must be written [[cell]]",
    "env = 3\n" + CELL: "must be a table",
    "[env.cartpool]\nbudget = 1\n" + CELL: "did you mean 'cartpole'",
    "[[cell": "is not valid TOML",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told_in_one_sentence(text, tmp_path):
    with pytest.raises(UsageError) as told:
        cells(tmp_path, text)
    assert WRONG[text] in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("name", shipped())
def test_shipped_sweeps_can_be_read(name):
    assert expand(find_file(name)).cells


def test_shards_are_equal_parts_of_all():
    everything = list(range(103))
    parts = [everything[parse_shard(f"{i}/4")] for i in (1, 2, 3, 4)]
    assert sorted(x for part in parts for x in part) == everything
    assert {len(part) for part in parts} == {25, 26}
    for wrong in ("0/4", "5/4", "1", "a/b", "1/0", "1/-2"):
        with pytest.raises(UsageError, match="I from 1 to N"):
            parse_shard(wrong)


def test_the_paper_s_search_space_is_the_paper_s():
    found = expand(find_file("paper_tuning")).cells
    by_algo = {
        a: [settings(c) for c in found if c.algo == a] for a in ("eggroll", "open_es", "ppo")
    }
    assert {algo: len(drawn) for algo, drawn in by_algo.items()} == dict.fromkeys(by_algo, 100)
    # The sizes of the grids that the tables of the paper make.
    sizes = {"eggroll": 62_208, "open_es": 20_736, "ppo": 236_196}
    text = (Path(sweeps.__file__).parent / "paper_space.toml").read_text()
    for algo, table in tomllib.loads(text)["algo"].items():
        choices = [d["choice"] for name, d in table["random"].items() if name != "trials"]
        assert math.prod(map(len, choices)) == sizes[algo]
        for drawn in by_algo[algo]:
            assert all(drawn[k] in d["choice"] for k, d in table["random"].items() if k != "trials")


def test_tuning_and_reporting_have_no_seed_in_common():
    seeds = {name: {c.seed for c in expand(find_file(name)).cells} for name in shipped()}
    tuning = {name for name in seeds if name.endswith("tuning")}
    assert tuning
    for name in tuning:
        assert not seeds[name] & set().union(*(seeds[n] for n in seeds if n not in tuning))
