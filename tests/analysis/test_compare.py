"""`rlbench compare` gives a verdict, or says what stands in the way of one."""

import pytest

from rlbench.cli import main

from .made_runs import HARDWARE, make_cells, make_run


def test_a_difference_its_interval_and_the_verdict(tmp_path, capsys):
    make_cells(tmp_path / "a", {"eggroll": 120.0}, seconds=5.0)
    make_cells(tmp_path / "b", {"ppo": 100.0}, seconds=15.0)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "difference 20 [14" in told and "eggroll is better; time ppo / eggroll: 3.00" in told
    assert main(["compare", str(tmp_path / "b"), str(tmp_path / "a")]) == 0
    assert "ppo is worse" in capsys.readouterr().out


def test_two_settings_of_one_algorithm(tmp_path, capsys):
    make_cells(tmp_path / "a", {"eggroll": 100.0}, settings={"rank": 1})
    make_cells(tmp_path / "b", {"eggroll": 100.0}, settings={"rank": 4})
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "A (eggroll) and B (eggroll) are not distinguishable" in capsys.readouterr().out


def test_tasks_of_one_side_alone_are_named(tmp_path, capsys):
    make_cells(tmp_path / "a", {"eggroll": 100.0})
    make_cells(tmp_path / "a", {"eggroll": 100.0}, env="gymnax/Acrobot-v1")
    make_cells(tmp_path / "b", {"ppo": 100.0})
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    told = capsys.readouterr().out
    assert "not compared: gymnax/Acrobot-v1" in told and "(RUNS_A alone)" in told


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"budget": 2_000}, "differ in budget (1k env steps and 2k env steps)"),
        ({"episodes": 9}, "differ in evaluation"),
        ({"network": {"hidden": [8], "activation": "relu"}}, "differ in network"),
        ({"hardware": {**HARDWARE, "usable_cores": 9}}, "--allow-mixed hardware"),
        ({"env": "brax/ant@spring"}, "no environment in common"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_differs(other, told, tmp_path, capsys):
    make_cells(tmp_path / "a", {"eggroll": 100.0})
    make_cells(tmp_path / "b", {"ppo": 100.0}, **other)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_mixed_hardware_is_compared_without_times(tmp_path, capsys):
    make_cells(tmp_path / "a", {"eggroll": 120.0})
    make_cells(tmp_path / "b", {"ppo": 100.0}, hardware={**HARDWARE, "usable_cores": 9})
    words = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--allow-mixed", "hardware"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "eggroll is better; time ppo / eggroll: -†" in told and "must not be compared" in told


def test_a_folder_of_several_algorithms_is_refused(tmp_path, capsys):
    make_cells(tmp_path / "a", {"eggroll": 100.0, "open_es": 1.0})
    make_cells(tmp_path / "b", {"ppo": 100.0})
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "2 algorithms" in capsys.readouterr().err
    make_run(tmp_path / "c", "eggroll")
    make_run(tmp_path / "c", "open_es", env="gymnax/Acrobot-v1")
    assert main(["compare", str(tmp_path / "c"), str(tmp_path / "b")]) == 2
    assert "several algorithms (eggroll, open_es)" in capsys.readouterr().err


def test_nothing_finished_is_told(tmp_path, capsys):
    make_run(tmp_path / "a", "eggroll", status="running")
    make_run(tmp_path / "b", "ppo")
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "no finished run" in capsys.readouterr().err
