"""What is written is what is read back, also after a torn write, and names stay in their folder."""

import json
import math
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbench.config import RunConfig, build, coerce
from rlbench.errors import UsageError, WriteError, nearest
from rlbench.files import clear_temporary, parse_json, read_bytes, replace_file, to_json
from rlbench.given import read_given
from rlbench.machine import provenance
from rlbench.store import check_name, in_words, read_run, run_directories, run_path
from rlbench.writer import RunWriter
from tests.analysis.made_runs import evaluation, make_run

CONFIG = RunConfig(env="toy/env", algo="eggroll", budget_env_steps=10)


def test_many_writers_of_one_file_do_not_trip_each_other(tmp_path):
    contents = [bytes([65 + i]) * 1_000 for i in range(8)]

    def write(content):
        for _ in range(50):
            replace_file(tmp_path / "file", content)
            assert (tmp_path / "file").read_bytes() in contents

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, contents))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_rows_come_back_in_order_and_a_torn_last_line_is_cut(tmp_path):
    writer = RunWriter(tmp_path / "run", CONFIG, {"argv": []})
    for i in range(3):
        writer.row(**evaluation(100 * i, 1.0, 2.0))
    writer.close()
    with (tmp_path / "run" / "metrics.jsonl").open("a") as f:
        f.write('{"kind": "evaluation", "updates": 3')
    record = read_run(tmp_path / "run")
    assert [row["updates"] for row in record.evaluations] == [0, 1, 2]
    assert record.status["status"] == "running"
    assert record.config == json.loads(json.dumps(CONFIG.to_json()))


SHAPES = {
    "return_std is no number in line 2": lambda rows, status: rows[1].update(return_std="1"),
    "return_mean is no number in line 1": lambda rows, status: rows[0].update(return_mean=None),
    "updates is no number in line 5": lambda rows, status: rows[4].pop("updates"),
    "returns is no list in line 3": lambda rows, status: rows[2].update(returns=3),
    "lengths holds what is no number in line 1": lambda rows, status: rows[0]["lengths"].append([]),
    "lacks its status": lambda rows, status: status.pop("reason"),
    "eval_seconds in status.json": lambda rows, status: status.update(eval_seconds=True),
    "memory in status.json": lambda rows, status: status.update(memory=[]),
    "the largest is 9223372036854775807": lambda rows, status: rows[0].update(updates=10**19),
    "the integer -1111": lambda rows, status: status.update(overshoot_env_steps=-int("1" * 400)),
}


@pytest.mark.parametrize("told", SHAPES)
def test_what_no_run_writes_is_told_in_a_sentence_though_nobody_sealed_it(told, tmp_path):
    path = make_run(tmp_path)
    assert len(read_run(path).evaluations) == 5
    files = [path / name for name in ("metrics.jsonl", "status.json")]
    rows = [json.loads(line) for line in files[0].read_text().splitlines()]
    status = json.loads(files[1].read_text())
    SHAPES[told](rows, status)
    files[0].write_text("".join(json.dumps(row) + "\n" for row in rows))
    files[1].write_text(json.dumps(status))
    with pytest.raises(UsageError, match=told):
        read_run(path)


def test_a_run_below_a_name_that_is_not_utf_8_is_refused(tmp_path):
    for name in ("good", "\udcff"):
        (tmp_path / name / "seed-0000").mkdir(parents=True)
        (tmp_path / name / "seed-0000" / "status.json").touch()
    assert list(run_directories(tmp_path / "good")) == [tmp_path / "good" / "seed-0000"]
    with pytest.raises(UsageError, match="udcff/seed-0000' is not in UTF-8"):
        list(run_directories(tmp_path))


@pytest.mark.parametrize("name", ["env", "algo"])
def test_a_configuration_without_what_it_needs_says_so(name):
    values = {"env": "toy/env", "algo": "eggroll", "budget_env_steps": 10}
    assert build(RunConfig, values, "key") == CONFIG
    del values[name]
    with pytest.raises(UsageError, match=f"key '{name}' is missing"):
        build(RunConfig, values, "key")


@pytest.mark.parametrize("text", ["{}", "[1, {}]", '{{"a":-{}}}', '{{"a": [0,\n{}]}}', "[1,[{}]]"])
def test_integers_are_read_up_to_64_bits(text):
    whole = text.format(2**63 - 1)
    assert parse_json(whole.encode()) == json.loads(whole)
    for large in (2**63, 10**400):
        with pytest.raises(ValueError, match="the largest is 9223372036854775807"):
            parse_json(text.format(large))
    digits = f'{{"sha256": "{"7" * 64}", "x": 0.{"3" * 40}, "y": 1{"0" * 30}.5}}'
    assert parse_json(digits) == json.loads(digits)


@pytest.mark.parametrize("text", [r'"{}"', r'{{"{}": 1}}', r'[[{{"a": "x{}"}}]]'])
def test_half_of_a_surrogate_pair_is_refused_and_a_whole_one_read(text):
    assert parse_json(text.format(r"\ud83d\uDE00")) == json.loads(text.format("\N{GRINNING FACE}"))
    for half in (r"\ud83d", r"\uDE00", r"\uDE00\ud83d", r"\ud83dx"):
        with pytest.raises(ValueError, match="half of a surrogate pair"):
            parse_json(text.format(half).encode())


@pytest.mark.parametrize("value", [2**63, -(10**30), 1e30, 10**400])
def test_an_option_is_held_to_64_bits_too(value, tmp_path):
    assert coerce(2**63 - 1, int, "x") == 2**63 - 1 and coerce(1e300, float, "x") == 1e300
    with pytest.raises(UsageError, match="x must be at most 9223372036854775807"):
        coerce(value, int, "x")
    if isinstance(value, int):
        (tmp_path / "a.toml").write_text(f"[[cell]]\nseeds = [1, {{ a = {value} }}]\n")
        with pytest.raises(UsageError, match="the largest is 9223372036854775807"):
            read_given(tmp_path / "a.toml", "sweep file")


def test_null_stands_for_what_was_not_finite(tmp_path):
    rows = [evaluation(0, 0.0, 1.0), evaluation(100, 1.0, None) | {"nonfinite": True}]
    assert len(read_run(make_run(tmp_path, status="diverged", curve=rows)).evaluations) == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_json_cannot_hold_become_null_and_are_flagged(bad):
    row = json.loads(to_json({"a": bad, "b": [1.0, bad], "c": {"d": 2}}))
    assert row == {"a": None, "b": [1.0, None], "c": {"d": 2}, "nonfinite": True}
    assert "nonfinite" not in json.loads(to_json({"a": 1.0}))


@given(st.text(max_size=80))
def test_no_name_leaves_its_folder(text):
    try:
        name = check_name(text, "suite")
    except UsageError:
        return
    assert name == text and "/" not in name and "\\" not in name and name not in (".", "..")
    assert 1 <= len(name) <= 64 and name.isascii()


def test_run_path_refuses_a_suite_that_climbs(tmp_path):
    from dataclasses import replace

    with pytest.raises(UsageError, match="folder's name"):
        run_path(tmp_path, replace(CONFIG, suite=".."))


def test_a_directory_that_is_no_run_is_told_so(tmp_path):
    with pytest.raises(UsageError, match="not a run directory"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3.0, int, 3),
        (3, float, 3.0),
        ([1, 2], tuple[int, ...], (1, 2)),
        (5, tuple[int, ...], (5,)),
        (None, int | None, None),
        (True, bool, True),
    ],
)
def test_values_become_the_annotated_type(value, hint, expected):
    result = coerce(value, hint, "x")
    assert result == expected and type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint"), [(3.5, int), (True, int), (True, float), ("3", float), (1, bool), (1, str)]
)
def test_values_of_another_type_are_refused(value, hint):
    with pytest.raises(UsageError):
        coerce(value, hint, "x")


def test_nearest_offers_the_likely_name_or_all():
    assert nearest("egroll", ["eggroll", "open_es"]) == "did you mean 'eggroll'?"
    assert nearest("zzz", ["eggroll", "open_es"]) == "choose from eggroll, open_es"


def made(path):
    writer = RunWriter(path, CONFIG, {"argv": ["x"]})
    writer.row("updates", updates=1)
    writer.file("policy.safetensors", b"weights")
    writer.close()
    writer.status("ok", updates=1)
    return writer


@pytest.mark.parametrize("name", ["config.json", "provenance.json", "status.json", "metrics.jsonl"])
def test_no_byte_of_a_run_can_change_in_silence(name, tmp_path):
    made(tmp_path / "run")
    file = tmp_path / "run" / name
    whole = file.read_bytes()
    for i in range(len(whole)):
        file.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        with pytest.raises(UsageError, match=r"damaged|not a run directory"):
            read_run(tmp_path / "run")
    file.write_bytes(whole)
    assert read_run(tmp_path / "run").status["updates"] == 1


def test_two_processes_do_not_write_one_run(tmp_path, monkeypatch):
    monkeypatch.setattr("rlbench.folders.LOCK_SECONDS", 0.1)
    writer = RunWriter(tmp_path / "run", CONFIG, {})
    for again in (
        lambda: RunWriter(tmp_path / "run", CONFIG, {}),
        lambda: RunWriter.resume(tmp_path / "run", {}, {"metrics_bytes": 0}, ""),
    ):
        with pytest.raises(UsageError, match="another process is writing"):
            again()
    writer.row("updates", updates=1)
    writer.close()
    assert len(read_run(tmp_path / "run").rows) == 1
    RunWriter(tmp_path / "run", CONFIG, {}).close()
    assert read_run(tmp_path / "run").rows == []
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_directory_that_is_gone_is_told_at_the_next_row(tmp_path):
    writer = RunWriter(tmp_path / "run", CONFIG, {})
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(WriteError, match="was removed"):
        writer.row("updates", updates=1)
    with pytest.raises(WriteError, match="was removed or moved"):
        writer.status("ok")
    writer.close()


def test_a_row_that_the_disk_refuses_leaves_the_rows_before(tmp_path, monkeypatch):
    writer = RunWriter(tmp_path / "run", CONFIG, {})
    writer.row("updates", updates=1)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    monkeypatch.setenv("RLBENCH_CRASH", "metrics.write=ENOSPC")
    with pytest.raises(WriteError, match="No space left"):
        writer.row("updates", updates=2)
    monkeypatch.delenv("RLBENCH_CRASH")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    writer.close()
    writer.status("interrupted", "full")
    assert [row["updates"] for row in read_run(tmp_path / "run").rows] == [1]


def test_a_running_status_tells_whether_its_process_is_there(tmp_path):
    RunWriter(tmp_path / "run", CONFIG, {}).close()
    status = read_run(tmp_path / "run").status
    assert in_words(status) == "running"
    dead = subprocess.Popen(["true"])
    dead.wait()
    assert in_words(status | {"process": status["process"] | {"pid": dead.pid}}).startswith(
        "killed"
    )
    # The number was given to another process since.
    young = status["process"] | {"started": 0.0}
    assert in_words(status | {"process": young}).startswith("killed")
    elsewhere = status["process"] | {"boot": "another"}
    assert "or killed on another machine" in in_words(status | {"process": elsewhere})


def test_what_is_read_is_a_plain_file_of_a_size(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "zero"):
        with pytest.raises(OSError, match="not a plain file"):
            read_bytes(tmp_path / name, 10)
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert read_bytes(tmp_path / "file", 10) == b"x" * 10
    with pytest.raises(OSError, match="larger than 9 bytes"):
        read_bytes(tmp_path / "file", 9)


def test_only_what_a_killed_process_of_ours_began_is_cleared(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    kept = ["mine.tmp", f"x.{os.getpid()}-00000000.tmp", f"x.{dead.pid}-zz000000.tmp"]
    for name in (*kept, f"status.json.{dead.pid}-0123abcd.tmp"):
        (tmp_path / name).write_bytes(b"")
    clear_temporary(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)


def test_the_home_directory_is_in_no_provenance(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to={tmp_path}/dumps")
    monkeypatch.setattr("sys.argv", ["rlbench", "run", f"--out={tmp_path}/results"])
    told = provenance()
    assert told["argv"][-1] == "--out=~/results"
    assert told["jax"]["variables"]["XLA_FLAGS"] == "--xla_dump_to=~/dumps"
    assert str(tmp_path) not in json.dumps(told)
