"""A run directory comes back as it was, or not at all."""

import pytest

from rlbench.errors import UsageError
from rlbench.sweep import parcel
from rlbench.sweep.parcel import pack, unpack

FILES = {"config.json": b"{}", "policy.safetensors": bytes(range(256)), "metrics.jsonl": b""}


def written(folder):
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def test_what_comes_back_is_what_was_sent(tmp_path):
    unpack(pack(written(tmp_path / "there")), tmp_path / "here")
    assert {p.name: p.read_bytes() for p in (tmp_path / "here").iterdir()} == FILES
    assert pack(tmp_path / "none") == {}


def test_only_plain_files_are_sent(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    run = written(tmp_path / "run")
    (run / "link").symlink_to(secret)
    with pytest.raises(UsageError, match="link in the run directory is not a plain file"):
        pack(run)
    (run / "link").unlink()
    (run / "folder").mkdir()
    with pytest.raises(UsageError, match="not a plain file"):
        pack(run)


def test_what_is_too_large_for_memory_is_not_read(tmp_path, monkeypatch):
    run = written(tmp_path / "run")
    monkeypatch.setattr(parcel, "MAX_BYTES", sum(map(len, FILES.values())))
    assert pack(run) == FILES
    with (run / "huge").open("wb") as file:
        file.truncate(1 << 40)  # nothing of it is on the disk
    with pytest.raises(UsageError, match="1,048,576 MiB"):
        pack(run)


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "..", "a/b", "", ".hidden"])
def test_a_name_that_leaves_the_folder_writes_nothing(name, tmp_path):
    with pytest.raises(UsageError, match="cannot be a folder's name"):
        unpack({"config.json": b"{}", name: b"x"}, tmp_path / "here")
    assert not list(tmp_path.iterdir())
