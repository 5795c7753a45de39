"""What may not be compared is kept apart, and nothing is counted twice or lost."""

import pytest

from rlbench.analysis.runs import find_runs
from rlbench.analysis.tasks import compare
from rlbench.errors import UsageError

from .made_runs import HARDWARE, NETWORK, make_cells, make_run


def tasks(root, **options):
    return compare(find_runs([root]).runs, **options).tasks


MEMBER = {"processor": HARDWARE["processor"], "usable_cores": HARDWARE["usable_cores"]}
DIFFERENCES = {
    "budget": {"budget": 2_000},
    "budget in seconds": {"budget_seconds": 9.0},
    "episodes": {"episodes": 8},
    "evaluations": {"evaluations": 5},
    "network": {"network": {**NETWORK, "hidden": [64]}},
    "backend": {"env": "brax/ant@positional"},
    "devices": {"hardware": {**HARDWARE, "device_count": 1}},
    "processor": {"hardware": {**HARDWARE, "processor": "Another CPU"}},
    "processes": {"hardware": {**HARDWARE, "processes": [MEMBER, MEMBER]}},
    "hardware not recorded": {"hardware": None},
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_runs_that_differ_so_are_never_in_one_task(name, tmp_path):
    usual = {"env": "brax/ant@spring"}
    make_run(tmp_path / "a", "eggroll", **usual)
    make_run(tmp_path / "b", "ppo", **(usual | DIFFERENCES[name]))
    found = tasks(tmp_path)
    assert [list(task.entries) for task in found] in (
        [["eggroll"], ["ppo"]],
        [["ppo"], ["eggroll"]],
    )
    assert len({task.label for task in found}) == 2  # and the labels tell them apart


def test_runs_that_differ_in_nothing_of_this_are_one_task(tmp_path):
    make_run(tmp_path, "eggroll", suite="one", host_devices=2)
    make_run(tmp_path, "ppo", suite="another", settings={"num_envs": 8})
    (task,) = tasks(tmp_path)
    assert task.label == "gymnax/CartPole-v1" and list(task.entries) == ["eggroll", "ppo"]


def test_the_machine_of_every_process_counts_and_not_their_order(tmp_path):
    other = {"processor": "Another CPU", "usable_cores": 8}
    for i, processes in enumerate([[MEMBER, other], [other, MEMBER], [MEMBER, MEMBER]]):
        make_run(tmp_path / str(i), f"agent{i}", hardware={**HARDWARE, "processes": processes})
    apart = {tuple(task.entries): task.label for task in tasks(tmp_path)}
    assert set(apart) == {("agent0", "agent1"), ("agent2",)}
    assert "2 processes, also on Another CPU with 8 cores" in apart["agent0", "agent1"]


def test_hardware_alone_can_be_mixed_and_is_marked(tmp_path):
    make_run(tmp_path, "eggroll")
    make_run(tmp_path, "ppo", hardware={**HARDWARE, "usable_cores": 64})
    (task,) = tasks(tmp_path, mix=["hardware"])
    assert task.mixed_hardware
    for name in ("budget", "network", "hardwear"):
        with pytest.raises(UsageError, match="hardware"):
            tasks(tmp_path, mix=[name])


def test_settings_that_differ_make_entries_and_name_them(tmp_path):
    for rank in (1, 4):
        make_run(tmp_path, "eggroll", settings={"rank": rank, "sigma": 0.1})
    # Tuned otherwise for another environment: no entry of its own by that.
    make_run(tmp_path, "eggroll", settings={"rank": 1, "sigma": 0.2}, env="gymnax/Pendulum-v1")
    first, second = tasks(tmp_path)
    assert list(first.entries) == ["eggroll rank=1", "eggroll rank=4"]
    assert list(second.entries) == ["eggroll rank=1"]


def test_many_settings_that_differ_are_told_by_the_hash(tmp_path):
    for i in range(2):
        make_run(tmp_path, "eggroll", settings=dict.fromkeys("abcdef", i))
    (task,) = tasks(tmp_path)
    hashes = {run.cell for entry in task.entries.values() for run in entry.runs}
    assert set(task.entries) == {f"eggroll {x}" for x in hashes} and len(hashes) == 2


def test_a_seed_counts_once_and_a_finished_run_before_a_failed_one(tmp_path):
    early = "2025-01-01T00:00:00+00:00"
    make_run(tmp_path / "a", seed=3, final=1.0, status="failed", started=early)
    make_run(tmp_path / "b", seed=3, final=70.0)
    make_run(tmp_path / "c", seed=3, final=70.0)
    found = compare(find_runs([tmp_path]).runs)
    (task,) = found.tasks
    assert task.entries["eggroll"].scores == [70.0]
    assert sorted(why.split("; ")[0] for _, why in found.left_out) == [
        "seed 3 of this cell once more",
        "seed 3 of this cell with the same result",
    ]


def test_every_run_is_counted_shown_or_left_out(tmp_path):
    make_cells(tmp_path / "a", {"eggroll": 1.0, "ppo": 2.0}, seeds=3)
    make_cells(tmp_path / "b", {"eggroll": 1.0}, seeds=2)
    make_run(tmp_path / "c", "ppo", 9, status="interrupted")
    found = find_runs([tmp_path])
    comparison = compare(found.runs)
    shown = [r for t in comparison.tasks for e in t.entries.values() for r in e.runs]
    assert len(shown) + len(comparison.left_out) == len(found.runs) == 9
