"""A run directory in any condition is counted, or listed with the reason."""

import json
import math
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlbench.analysis import page
from rlbench.analysis.cost_tables import all_tables
from rlbench.analysis.findings import find
from rlbench.analysis.formats import FORMATS
from rlbench.analysis.frame import matrices
from rlbench.analysis.notes import notes
from rlbench.analysis.runs import find_runs
from rlbench.config import RunConfig
from rlbench.errors import UsageError
from rlbench.writer import RunWriter

from .made_runs import evaluation, make_cells, make_run

FILES = ("config.json", "status.json", "metrics.jsonl", "provenance.json")


def test_the_cell_is_the_hash_that_names_a_run_s_folder(tmp_path):
    config = RunConfig(env="gymnax/CartPole-v1", algo="eggroll", budget_env_steps=10, seed=3)
    RunWriter(tmp_path / "run", config, {"argv": []}).close()
    (run,) = find_runs([tmp_path]).runs
    assert run.cell == config.hash and run.state == "running"


def test_a_torn_last_line_is_cut(tmp_path):
    path = make_run(tmp_path)
    with (path / "metrics.jsonl").open("a") as f:
        f.write('{"kind": "evaluation", "simulated_env_steps": 2000, "return_mean": 1')
    (run,) = find_runs([tmp_path]).runs
    assert run.curve.steps[-1] == 1000


def test_runs_in_progress_below_a_hidden_folder_are_nobody_s_yet(tmp_path):
    path = make_run(tmp_path)
    hidden = tmp_path / "sweep" / ".sweep" / "c" / "attempt-1"
    hidden.mkdir(parents=True)
    shutil.copytree(path, hidden / "run")
    found = find_runs([tmp_path])
    assert [run.path for run in found.runs] == [path] and not found.unreadable
    assert len(find_runs([hidden]).runs) == 1  # who names it means it


def test_unknown_fields_are_no_fault(tmp_path):
    path = make_run(tmp_path)
    for name in ("config.json", "status.json", "provenance.json"):
        data = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps(data | {"of_tomorrow": {"x": [1, None]}}))
    assert len(find_runs([tmp_path]).runs) == 1


DAMAGE = {
    "no config": (lambda p: (p / "config.json").unlink(), "config.json is missing"),
    "torn config": (lambda p: (p / "config.json").write_text('{"env": '), "not JSON"),
    "config a list": (lambda p: (p / "config.json").write_text("[]"), "not hold a table"),
    "no env": (lambda p: (p / "config.json").write_text('{"algo": "a"}'), "no 'env'"),
    "status unknown": (lambda p: (p / "status.json").write_text('{"status": 1}'), "no known"),
    "ok without evaluation": (lambda p: (p / "metrics.jsonl").unlink(), "no final evaluation"),
    "torn inside": (
        lambda p: (p / "metrics.jsonl").write_text('{"kind": "evaluation"\n{}\n'),
        "line 1 of metrics.jsonl",
    ),
    "not text": (lambda p: (p / "config.json").write_bytes(b"\xff\xfe\x00"), "not JSON"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_cannot_be_read_is_listed_and_the_rest_is_counted(name, tmp_path):
    damage, reason = DAMAGE[name]
    make_run(tmp_path, seed=0)
    damage(make_run(tmp_path, seed=1))
    found = find_runs([tmp_path])
    assert len(found.runs) == 1
    ((where, why),) = found.unreadable
    assert where.endswith("seed-0001") and reason in why


def test_the_order_of_folders_changes_nothing(tmp_path):
    make_cells(tmp_path / "a", {"eggroll": 1.0}, seeds=3)
    make_cells(tmp_path / "b", {"ppo": 1.0}, seeds=3)
    roots = [tmp_path / "a", tmp_path / "b"]
    one, other = find_runs(roots), find_runs(roots[::-1])
    assert [r.name for r in one.runs] == [r.name for r in other.runs]
    # A run that is below two of the folders is one run, with one name.
    assert len(find_runs([tmp_path, *roots]).runs) == 6
    names = {
        tuple(r.name for r in find_runs(p).runs) for p in ([tmp_path, *roots], [*roots, tmp_path])
    }
    assert len(names) == 1


def test_links_are_not_followed(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    make_run(inside)
    make_run(outside, seed=1)
    (inside / "loop").symlink_to(inside)
    (inside / "away").symlink_to(outside)
    assert [run.seed for run in find_runs([inside]).runs] == [0]


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan, None, "12", True])
def test_a_mean_that_is_no_finite_number_is_no_evaluation(bad, tmp_path):
    rows = [evaluation(0, 0.0, 1.0), evaluation(1_000, 10.0, bad)]
    make_run(tmp_path, seed=0, status="failed", curve=rows)
    make_run(tmp_path, seed=1, status="ok", curve=rows)
    found = find_runs([tmp_path])
    assert found.runs[0].curve.returns.tolist() == [1.0] and not found.runs[0].final_finite
    assert [why for _, why in found.unreadable] == [
        "its status is ok, but it holds no final evaluation"
    ]


def test_an_integer_that_no_number_holds_is_not_read(tmp_path):
    rows = [
        evaluation(steps, 1.0, value) for steps, value in ((0, 1.0), (500, 10**400), (1000, 2.0))
    ]
    make_run(tmp_path, curve=rows)
    assert [why for _, why in find_runs([tmp_path]).unreadable] == [
        "line 2 of metrics.jsonl is not JSON"
    ]


@pytest.mark.parametrize("make", [lambda p: p / "missing", lambda p: p])
def test_no_runs_are_told_in_a_sentence(make, tmp_path):
    with pytest.raises(UsageError, match="directory"):
        find_runs([make(tmp_path)])


def everything(root):
    """A report but for its figures, which take seconds."""
    findings = find(find_runs([root]))
    tables = all_tables(findings)
    for table in tables:
        for to_text in FORMATS.values():
            to_text(table)
    notes(findings)
    json.dumps(matrices(findings.comparison), allow_nan=False)
    return page.build(findings, tables, {}, {}, (), root / "out", "made by a test")


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
)
FIELDS = {
    "config.json": (
        "seed",
        "budget_env_steps",
        "evaluations",
        "settings",
        "network",
        "env",
        "algo",
    ),
    "status.json": ("status", "train_seconds", "memory", "simulated_env_steps", "started"),
    "provenance.json": ("argv", "versions", "hardware", "commit"),
}
OPERATIONS = st.one_of(
    st.tuples(st.just("delete"), st.sampled_from(FILES)),
    st.tuples(st.just("cut"), st.sampled_from(FILES), st.floats(0, 1)),
    st.tuples(st.just("flip"), st.sampled_from(FILES), st.floats(0, 1), st.integers(1, 255)),
    *(
        st.tuples(st.just("set"), st.just(file), st.sampled_from(fields), SCALARS)
        for file, fields in FIELDS.items()
    ),
    st.tuples(
        st.just("row"),
        st.sampled_from(["return_mean", "simulated_env_steps", "train_seconds", "kind", "returns"]),
        SCALARS,
    ),
    st.tuples(st.just("status"), st.sampled_from(["running", "failed", "diverged", "skipped"])),
)


def damage(path, operation):
    kind, *rest = operation
    if kind == "status":
        kind, rest = "set", ["status.json", "status", *rest]
    file = path / (rest[0] if kind != "row" else "metrics.jsonl")
    if not file.exists():
        return
    content = file.read_bytes()
    if kind == "delete":
        file.unlink()
    elif kind == "cut":
        file.write_bytes(content[: int(rest[1] * len(content))])
    elif kind == "flip" and content:
        at = min(int(rest[1] * len(content)), len(content) - 1)
        file.write_bytes(content[:at] + bytes([content[at] ^ rest[2]]) + content[at + 1 :])
    elif kind in ("set", "row"):
        try:
            lines = [json.loads(line) for line in content.splitlines()] if kind == "row" else None
            data = lines[-1] if lines else json.loads(content)
            data[rest[-2]] = rest[-1]
        except (ValueError, TypeError, IndexError):
            return  # an earlier operation left no table here
        # Python writes NaN and Infinity, which are no JSON: as a careless writer would.
        text = "".join(json.dumps(x) + "\n" for x in lines) if lines else json.dumps(data)
        file.write_text(text)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_run_directories_give_a_report_or_one_sentence(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    envs = ["gymnax/CartPole-v1", "brax/ant@spring", "somebody/s-env"]
    for i in range(data.draw(st.integers(0, 5), label="runs")):
        algo, env = (
            data.draw(st.sampled_from(["eggroll", "ppo", "x y"])),
            data.draw(st.sampled_from(envs)),
        )
        path = make_run(root, algo, i % 3, 10.0 * i, env=env, name=f"run-{i}")
        for operation in data.draw(st.lists(OPERATIONS, max_size=3), label="damage"):
            damage(path, operation)
    try:
        html = everything(root)
    except UsageError as error:
        assert str(error)
        return
    assert html.endswith("</html>")


def test_a_run_whose_status_was_deleted_is_not_one_that_goes_on(tmp_path):
    path = make_run(tmp_path)
    (path / "status.json").unlink()
    ((_, why),) = find_runs([tmp_path]).unreadable
    assert why == "status.json is missing, and metrics.jsonl is there"
