"""A core is one holder's until it lets go or dies."""

import os
import subprocess
import sys
import tempfile

import psutil
import pytest

from rlbench.sweep.cores import free_core

HOLD = """
import sys
from rlbench.sweep.cores import free_core
with free_core() as core:
    print(*core, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # else it is what was found before
    return tmp_path


def holder():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLD], text=True, **pipes)
    return process, [int(core) for core in process.stdout.readline().split()]


def test_every_core_has_one_holder_and_is_free_again_after_its_death(folder):
    cores = psutil.Process().cpu_affinity()
    held = [holder() for _ in cores]
    assert sorted(core for _, found in held for core in found) == sorted(cores)
    with free_core() as none:
        assert none == ()
    first, (core,) = held[0]
    first.kill()
    first.wait()
    with free_core() as again:
        assert again == (core,)
    with free_core() as again:
        assert again == (core,)
    for process, _ in held:
        process.kill()
        process.communicate()


def test_a_folder_that_is_not_ours_is_left_alone(folder):
    (folder / "elsewhere").mkdir()
    (folder / f"rlbench-cores-{os.getuid()}").symlink_to(folder / "elsewhere")
    with free_core() as core:
        assert core == ()
    assert not list((folder / "elsewhere").iterdir())
