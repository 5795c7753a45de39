"""What is read back is what was written, whatever happened to the files in between."""

import json
import random
import shutil

import numpy as np
import pytest
import tensorstore

from rlbench.checkpoint import FOLDER, Checkpoints, DamagedError
from rlbench.errors import RunError, WriteError
from rlbench.files import digest, json_digest
from tests.records import places, replaced

COUNTED = {"simulated_env_steps": 640, "live_env_steps": 512, "eval_env_steps": 90}
RECORD = {
    "clocks": {"train": 1.25},
    "last_return": 12.5,
    "written": 1.0,
    "due": 2,
    "metrics_bytes": 1234,
}


def arrays(seed):
    rng = np.random.default_rng(seed)
    return {
        "params.layers.0.w": rng.normal(size=(8, 16)).astype(np.float32),
        "params.layers.0.b": rng.normal(size=8).astype(np.float16),
        "key": rng.integers(2**32, size=2, dtype=np.uint32),
        "generation": np.array(seed, np.int32),
        "flags": rng.integers(2, size=(3, 2)).astype(bool),
        "empty": np.zeros((0, 3), np.float32),
    }


def record(step):
    return RECORD | {"counts": {"updates": step, **COUNTED}}


def same(found, seed):
    wanted = arrays(seed)
    assert found.keys() == wanted.keys()
    for name, x in wanted.items():
        assert found[name].dtype == x.dtype and found[name].shape == x.shape, name
        np.testing.assert_array_equal(found[name], x)


def write_seal(file, content):
    file.write_text(json.dumps({"content": content, "sha256": json_digest(content)}))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    checkpoints = Checkpoints(path)
    for step in (3, 5, 9):
        checkpoints.save(step, arrays(step), record(step))
    checkpoints.close()
    return path


def test_the_newest_is_restored_and_two_are_kept(saved):
    found, told = Checkpoints(saved).restore()
    assert found.step == 9 and found.record == record(9) and not told
    same(found.arrays, 9)
    assert sorted(p.name for p in (saved / FOLDER).iterdir() if p.name.isdecimal()) == ["5", "9"]


@pytest.mark.parametrize(
    "point", ["saved", "json.create", "json.write", "json.sync", "json.replace"]
)
def test_one_that_the_disk_refuses_leaves_nothing_of_itself(point, tmp_path, monkeypatch):
    """What was half written would read as damaged: nobody was killed."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, arrays(3), record(3))
    monkeypatch.setenv("RLBENCH_CRASH", f"checkpoint.{point}=ENOSPC")
    with pytest.raises(WriteError, match="cannot write checkpoint 5: No space left"):
        checkpoints.save(5, arrays(5), record(5))
    monkeypatch.delenv("RLBENCH_CRASH")
    checkpoints.close()
    assert {step: flaw for step, (flaw, _) in Checkpoints(tmp_path).flaws().items()} == {3: ""}
    found, told = Checkpoints(tmp_path).restore()
    assert found.step == 3 and not told
    same(found.arrays, 3)


def test_none_is_found_where_none_was_written(tmp_path):
    assert Checkpoints(tmp_path).restore() == (None, [])


def test_saving_goes_on_after_a_restore(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.restore()
    checkpoints.save(11, arrays(11), record(11))
    found, _ = Checkpoints(tmp_path / "run").restore()
    assert found.step == 11
    same(found.arrays, 11)


def damage(file, kind, chance):
    data = bytearray(file.read_bytes())
    if kind == "gone":
        file.unlink()
    elif kind == "cut":
        file.write_bytes(data[: chance.randrange(len(data)) if data else 0])
    elif data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)


@pytest.mark.parametrize("kind", ["flipped", "cut", "gone"])
def test_no_damage_is_accepted_in_silence(saved, tmp_path, kind):
    chance = random.Random(kind)
    files = [p.relative_to(saved) for p in saved.rglob("*") if p.is_file()]
    newest = [p for p in files if p.parts[1] in ("9", "9.json")]
    assert len(newest) > 5
    for i, name in enumerate(newest * 3):
        run = tmp_path / str(i)
        shutil.copytree(saved, run)
        damage(run / name, kind, chance)
        found, told = Checkpoints(run).restore()
        empty = not (saved / name).stat().st_size and kind != "gone"
        assert found.step == (9 if empty else 5) and found.record == record(found.step)
        same(found.arrays, found.step)
        assert bool(told) == (not empty)


def test_no_byte_of_the_record_can_change_in_silence(saved, tmp_path):
    """Most flipped bits leave it JSON: a count of 9 becomes one of 8."""
    shutil.copytree(saved, tmp_path / "run")
    seal = tmp_path / "run" / FOLDER / "9.json"
    whole, checkpoints = seal.read_bytes(), Checkpoints(tmp_path / "run")
    assert b'"updates": 9' in whole
    for i in range(len(whole)):
        seal.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        with pytest.raises(DamagedError):
            checkpoints.read(9)
    seal.write_bytes(whole)
    assert checkpoints.read(9).record == record(9)


@pytest.mark.parametrize(
    "value", [None, True, -1, 2.5, 10**30, "x", [], [1], {}, {"a": 1}, float("inf")], ids=str
)
def test_what_no_run_has_written_is_damaged_however_well_it_is_sealed(value, saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    seal = tmp_path / "run" / FOLDER / "9.json"
    content, checkpoints = json.loads(seal.read_bytes())["content"], Checkpoints(tmp_path / "run")
    assert content["empty"]
    # Nobody needs a last return, and a clock may say what it likes.
    fitting = {("record", "last_return"): (None, 2.5, -1), ("record", "written"): (2.5,)}
    fitting |= {("record", "clocks"): ({}, {"a": 1}), ("record", "clocks", "train"): (2.5,)}
    for path in places(content):
        write_seal(seal, replaced(content, path, value))
        if value in fitting.get(path, ()):
            checkpoints.read(9)
        else:
            with pytest.raises(DamagedError):
                checkpoints.read(9)


# Threads of orbax that still run say that they were left alone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_orbax_cannot_read_is_damaged_though_it_is_sealed(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    seal, step = (tmp_path / "run" / FOLDER / name for name in ("9.json", "9"))
    content, told = json.loads(seal.read_bytes())["content"], set()
    for name in content["files"]:
        whole = (step / name).read_bytes()
        (step / name).write_bytes(whole[: len(whole) // 2])
        files = content["files"] | {name: digest((step / name).read_bytes())}
        write_seal(seal, content | {"files": files})
        try:
            same(Checkpoints(tmp_path / "run").read(9).arrays, 9)
        except DamagedError as error:
            told.add(str(error).partition(":")[0])
        (step / name).write_bytes(whole)
    assert "orbax cannot read it" in told


@pytest.mark.parametrize(
    ("name", "empty"),
    [
        ("a type", ["nonsense", [0]]),
        ("objects", ["O", [0, 3]]),
        ("too much", ["float32", [0, 2**62]]),
        ("too many axes", ["float32", [0] * 70]),
    ],
)
def test_what_numpy_cannot_make_is_damaged_though_it_is_sealed(name, empty, saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    seal = tmp_path / "run" / FOLDER / "9.json"
    content = json.loads(seal.read_bytes())["content"]
    write_seal(seal, content | {"empty": {"empty": empty}})
    with pytest.raises(DamagedError):
        Checkpoints(tmp_path / "run").read(9)


@pytest.mark.parametrize("field", ["shape", "chunks"])
def test_arrays_larger_than_the_memory_are_refused_before_they_are_made(field, saved, tmp_path):
    """Where they cannot be, tensorstore aborts the process: 40 TiB and 64 bytes of files."""
    shutil.copytree(saved, tmp_path / "run")
    seal, step = (tmp_path / "run" / FOLDER / name for name in ("9.json", "9"))
    stored = {"driver": "ocdbt", "base": f"file://{step}/default/"}
    arrays = tensorstore.KvStore.open(stored).result()
    table = json.loads(arrays.read("key/.zarray").result().value)
    assert table["shape"] == table["chunks"] == [2]
    arrays.write("key/.zarray", json.dumps(table | {field: [10 * 2**40]}).encode()).result()
    files = {p.relative_to(step).as_posix(): p for p in step.rglob("*") if p.is_file()}
    content = json.loads(seal.read_bytes())["content"]
    content["files"] = {name: digest(p.read_bytes()) for name, p in files.items()}
    write_seal(seal, content)
    with pytest.raises(RunError, match=r"checkpoint 9 in .* holds 40,960.0 GiB, more than"):
        Checkpoints(tmp_path / "run").restore()
    assert step.is_dir() and seal.is_file()  # it may be sound, and fit elsewhere


def test_a_step_without_its_seal_is_none(saved, tmp_path):
    """A kill between orbax's commit and ours."""
    shutil.copytree(saved, tmp_path / "run")
    (tmp_path / "run" / FOLDER / "9.json").unlink()
    checkpoints = Checkpoints(tmp_path / "run")
    found, told = checkpoints.restore()
    assert found.step == 5 and len(told) == 1
    checkpoints.save(9, arrays(9), record(9))
    assert Checkpoints(tmp_path / "run").restore()[0].step == 9
    names = sorted(p.name for p in (tmp_path / "run" / FOLDER).glob("*.json"))
    assert names == ["5.json", "9.json"]


def test_two_damaged_ones_leave_none(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    for step in ("5", "9"):
        shutil.rmtree(next((tmp_path / "run" / FOLDER / step).glob("*/")))
    found, told = Checkpoints(tmp_path / "run").restore()
    assert found is None and len(told) == 2
    # Set aside, not thrown away; and a new one can be written.
    assert len(list((tmp_path / "run" / f"{FOLDER}-damaged").glob("*.json"))) == 2
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.save(5, arrays(5), record(5))
    assert Checkpoints(tmp_path / "run").restore()[0].step == 5
