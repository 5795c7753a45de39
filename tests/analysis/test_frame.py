"""The forms that other tools take hold what the run directories hold."""

import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from rlbench import analysis
from rlbench.analysis.tensorboard import NAME
from rlbench.cli import main
from rlbench.errors import UsageError

from .made_runs import make_cells, make_run


def test_a_tidy_table_has_a_row_an_evaluation(tmp_path):
    make_run(tmp_path, "eggroll", 0, 100.0)
    make_run(tmp_path, "ppo", 1, 50.0, status="running")
    table = analysis.load(tmp_path)
    assert len(table) == 10 and table["final"].sum() == 2
    one = table[(table["algorithm"] == "eggroll") & table["final"]].iloc[0]
    assert (one["return_mean"], one["simulated_env_steps"], one["score"]) == (100.0, 1000, 100.0)
    assert table[table["algo"] == "ppo"]["score"].isna().all()
    curve = table[table["algo"] == "eggroll"].set_index("simulated_env_steps")["return_mean"]
    assert curve.to_dict() == {0: 10.0, 250: 32.5, 500: 55.0, 750: 77.5, 1000: 100.0}


def test_a_failed_run_without_evaluations_has_no_row(tmp_path):
    make_run(tmp_path, status="failed", curve=[])
    assert len(analysis.load(tmp_path)) == 0


def test_matrices_are_runs_by_tasks(tmp_path):
    make_cells(tmp_path, {"eggroll": 400.0, "ppo": 300.0}, seeds=3)
    make_cells(tmp_path, {"eggroll": 9.0, "ppo": 8.0}, seeds=3, env="brax/hopper@spring")
    found = analysis.score_matrices(tmp_path, normalised=False)
    assert {name: m.shape for name, m in found.items()} == {"eggroll": (3, 2), "ppo": (3, 2)}
    # hopper is before cartpole in the table of environments
    np.testing.assert_allclose(found["ppo"], [[3, 295], [13, 305], [12, 304]])
    normalised = analysis.score_matrices(tmp_path)["eggroll"]  # hopper has no reference
    from rlbench import registry

    random = registry.scores("gymnax/CartPole-v1")["random"]
    np.testing.assert_allclose(normalised[0], [(395 - random) / (500 - random)])


def test_a_matrix_with_a_hole_is_refused(tmp_path):
    make_cells(tmp_path, {"eggroll": 400.0}, seeds=3)
    make_cells(tmp_path, {"eggroll": 9.0}, seeds=2, env="gymnax/Acrobot-v1")
    with pytest.raises(UsageError, match="3 on gymnax/CartPole-v1, 2 on gymnax/Acrobot-v1"):
        analysis.score_matrices(tmp_path)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="lood"):
        _ = analysis.lood


def events(file):
    """TensorBoard's records: length, its checksum, the event, its checksum."""
    content, at, found = file.read_bytes(), 0, []
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        found.append(Event.FromString(content[at + 12 : at + 12 + length]))
        at += 12 + length + 4
    assert at == len(content)
    return found


def test_tensorboard_gets_every_number_at_its_step(tmp_path, capsys):
    path = make_run(tmp_path / "runs", final=100.0, seconds=10.0)
    with (path / "metrics.jsonl").open("a") as f:
        f.write('{"kind": "updates", "simulated_env_steps": 1000, "sigma": 0.5, "loss": null}\n')
        f.write('{"kind": "updates", "simulated_env_steps": 1e300, "sigma": 0.7}\n')
    assert main(["export", str(path), "--to", "tensorboard"]) == 0
    (file,) = (path / "tensorboard").iterdir()
    assert file.name == NAME  # and not the host's
    points = {
        (value.tag, event.step): (value.simple_value, event.wall_time)
        for event in events(file)
        for value in event.summary.value
    }
    curve = {
        step: value for (tag, step), (value, _) in points.items() if tag.endswith("return_mean")
    }
    assert curve == {0: 10.0, 250: 32.5, 500: 55.0, 750: 77.5, 1000: 100.0}
    assert points["updates/sigma", 1000][0] == 0.5
    assert not any("loss" in tag for tag, _ in points)
    start, end = (points["evaluation/return_mean", step][1] for step in (0, 1000))
    assert end - start == pytest.approx(10.0)
    assert main(["export", str(path), "--to", "tensorboard"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["export", str(path), "--to", "tensorboard", "--overwrite"]) == 0


def test_an_unknown_form_is_told_the_nearest(tmp_path, capsys):
    assert main(["export", str(make_run(tmp_path)), "--to", "tensorbord"]) == 2
    assert "did you mean 'tensorboard'" in capsys.readouterr().err
