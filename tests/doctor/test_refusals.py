"""What stops jax, the list's reader or a check is told, and leads to no wrong remedy."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def doctor(cwd: Path, first: str = "", shell: str = "", **environ: str):
    """The command as its installed script runs it: from any folder, which is not on the path."""
    code = f"import sys\n{first}\nfrom rlbench.cli import main\nsys.exit(main(['doctor']))"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_", "MUJOCO_"))}
    command = [sys.executable, "-P", "-c", code]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        env={**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "400", **environ},
    )


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("JAX_ENABLE_X64", "", "JAX_ENABLE_X64 is empty"),
        ("XLA_FLAGS", "--xla_nonsense=1", "XLA_FLAGS is --xla_nonsense=1"),
    ],
)
def test_a_variable_that_stops_jax_is_blamed_and_not_the_install(name, value, shown, tmp_path):
    done = doctor(tmp_path, **{name: value})
    assert done.returncode == 5 and not done.stderr
    told = done.stdout[done.stdout.index("problem  jax: does not start") :]
    assert f"> {shown}" in told and f"$ unset {name}\n" in told and "--force-reinstall" not in told
    assert "is on" not in done.stdout


def test_a_jax_of_the_folder_it_is_called_in_is_not_taken_for_ours(tmp_path):
    for name in ("jax.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('not ours')\n")
    done = doctor(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok       jax: starts, 1 cpu device" in done.stdout


def test_without_packaging_the_list_goes_on(tmp_path):
    done = doctor(tmp_path, "sys.modules['packaging'] = None")
    assert done.returncode == 5 and not done.stderr
    assert "problem  packages: not checked: packaging" in done.stdout
    assert "$ python -m pip install packaging\n" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(", 1 problem")


def test_a_reader_that_has_read_enough_changes_no_exit_status(tmp_path):
    shell = '| head -n 1; exit "${PIPESTATUS[0]}"'
    sound = doctor(tmp_path, shell=shell)
    assert (sound.returncode, sound.stderr) == (0, "") and sound.stdout.count("\n") == 1
    broken = doctor(tmp_path, "sys.modules['six'] = None", shell)
    assert (broken.returncode, broken.stderr) == (5, "")


@pytest.mark.parametrize(
    ("given", "library"),
    [({}, "libEGL.so.1"), ({"MUJOCO_GL": "osmesa"}, "libOSMesa.so.8")],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the names are Linux's")
def test_opengl_is_told_as_the_loader_finds_it(given, library, tmp_path):
    try:
        ctypes.CDLL(library)
        there = True
    except OSError:
        there = False
    done = doctor(tmp_path, **given)
    assert ("ok       OpenGL: is here" in done.stdout) == there
    assert ("note     OpenGL: is not here" in done.stdout) == (not there)
    assert ("libegl1" in done.stdout) == (not there)
