"""`rlbench doctor`: what is sound is told so, and what is known to go wrong with its remedy."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rlbench.cli import main
from rlbench.doctor import tested as pins
from rlbench.doctor.command import CHECKS
from rlbench.doctor.facts import Folder, Here
from rlbench.doctor.finding import Finding
from rlbench.doctor.look import folder
from rlbench.folders import locks_work

ROOT = Path(__file__).resolve().parents[2]
GIB = 1 << 30
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = PROJECT["dependencies"] + [
    f'{need}; extra == "{extra}"' for extra, needs in EXTRAS.items() for need in needs
]
VERSIONS = {**pins.tested("3.11.9"), "rlbench": "0.1.0", "ray": "2.60.0", "optuna": "5.0.0"}
SOUND = Here(
    python="3.11.9",
    versions=VERSIONS,
    declared=DECLARED,
    jax_declared=["jaxlib<=0.10.2,>=0.10.1", 'jaxlib==0.10.1; extra == "minimum-jaxlib"'],
    commit="0123456789abcdef",
    dirty=False,
    importable={"six": True},
    programs={"git": True, "ffmpeg": True, "OpenGL": True},
    environ={},
    gpu=False,
    cores=4,
    machine_cores=4,
    quota=None,
    load=0.1,
    memory=(16 * GIB, 12 * GIB, None),
    out=Folder("results", free=50 * GIB),
    cache=Folder("~/.cache/rlbench/programs", free=50 * GIB),
)


def findings(**changes) -> list[Finding]:
    """What all checks say of a machine that is sound but for the changes."""
    here = replace(SOUND, **changes)
    return [one for check in CHECKS for one in check(here)]


def version(**changed):
    return {"versions": {**VERSIONS, **{k.replace("_", "-"): v for k, v in changed.items()}}}


def without(name):
    return {"versions": {k: v for k, v in VERSIONS.items() if k != name}}


def variables(**environ):
    return {"environ": environ}


ON_312 = {"python": "3.12.4", "versions": {**VERSIONS, **pins.tested("3.12.4")}}
ON_312["jax_declared"] = ["jaxlib<=0.11.2,>=0.11.1"]
BAD = [
    # what is changed, the level, the name, words of the finding, words of the remedy or command
    ({"python": "3.13.1"}, "problem", "Python", "3.11 and 3.12 are", "python3.12 -m venv"),
    ({"dirty": True}, "note", "rlbench", "0123456789ab with changes", "git status"),
    (without("rlbench"), "note", "rlbench", "not installed", "--editable ."),
    (without("optax"), "problem", "optax", "is missing", "install optax==0.2.8"),
    (without("jax"), "problem", "jax", "is missing", "jax==0.10.2 jaxlib==0.10.2"),
    (version(brax="0.12.1"), "problem", "brax", "outside what is asked", "brax==0.14.2"),
    (version(jax="0.9.0"), "problem", "jax", ">=0.10", "jax==0.10.2 jaxlib==0.10.2"),
    (version(jaxlib="0.9.0"), "problem", "jaxlib", ">=0.10.1", "jax==0.10.2 jaxlib==0.10.2"),
    (version(numpy="2.4.5"), "note", "packages", "numpy 2.4.5 (tested: 2.4.6)", "numpy==2.4.6"),
    (version(six="of no version"), "problem", "six", "of no version", "six==1.17.0"),
    (without("ray"), "note", "ray", "--engine ray", 'install "rlbench[ray]"'),
    (version(optuna="4.0.0"), "problem", "optuna", "outside", 'install "rlbench[tune]"'),
    ({"programs": {"git": True, "OpenGL": True}}, "note", "ffmpeg", "mp4", "imageio-ffmpeg"),
    ({"programs": {"ffmpeg": True, "OpenGL": True}}, "note", "git", "commit", "install git"),
    ({"programs": {"git": True, "ffmpeg": True}}, "note", "OpenGL", "html does without", "libegl1"),
    ({"importable": {"six": False}}, "problem", "gymnax", "without six", "six==1.17.0"),
    (
        variables(XLA_FLAGS="--xla_force_host_platform_device_count=5"),
        *("problem", "XLA_FLAGS", "for 5 host devices on 4 cores", "unset XLA_FLAGS"),
    ),
    (
        variables(XLA_FLAGS="--xla_force_host_platform_device_count=5", NPROC="8"),
        *("note", "XLA_FLAGS", "slower", "unset XLA_FLAGS"),
    ),
    (
        variables(XLA_FLAGS="--xla_cpu_enable_fast_math=true"),
        *("note", "XLA_FLAGS", "--xla_cpu_enable_fast_math: numbers", "unset XLA_FLAGS"),
    ),
    (
        variables(JAX_DEFAULT_PRNG_IMPL="rbg"),
        *("problem", "JAX_DEFAULT_PRNG_IMPL", "refused", "unset JAX_DEFAULT_PRNG_IMPL"),
    ),
    (
        variables(JAX_THREEFRY_PARTITIONABLE="False"),
        *("problem", "JAX_THREEFRY_PARTITIONABLE", "refused", "unset JAX_THREEFRY_PART"),
    ),
    (variables(JAX_ENABLE_X64="1"), "note", "JAX_ENABLE_X64", "bits", "unset JAX_ENABLE_X64"),
    (
        variables(JAX_DEFAULT_MATMUL_PRECISION="bfloat16"),
        *("note", "JAX_DEFAULT_MATMUL_PRECISION", "is bfloat16", "unset JAX_DEFAULT_MATMUL"),
    ),
    (
        {"gpu": True, **version(jax_cuda13_plugin="0.10.2"), **variables(JAX_PLATFORMS="cpu")},
        *("note", "JAX_PLATFORMS", "goes unused", "unset JAX_PLATFORMS"),
    ),
    (
        {"gpu": True, **version(jax_cuda13_plugin="0.10.2"), **variables(CUDA_VISIBLE_DEVICES="")},
        *("note", "CUDA_VISIBLE_DEVICES", "goes unused", "unset CUDA_VISIBLE_DEVICES"),
    ),
    ({"gpu": True}, "note", "GPU", "no plugin", '"jax[cuda13]==0.10.2"'),
    (
        {"gpu": True, **version(jax_cuda12_plugin="0.10.1")},
        *("problem", "jax-cuda12-plugin", "does not fit jaxlib 0.10.2", '"jax[cuda12]==0.10.2"'),
    ),
    (ON_312, "note", "Shardy", "crashes", "switches it off itself"),
    (
        {**ON_312, **variables(JAX_USE_SHARDY_PARTITIONER="true")},
        *("problem", "JAX_USE_SHARDY_PARTITIONER", "crashes", "unset JAX_USE_SHARDY"),
    ),
    ({"cores": 2}, "note", "cores", "2 of 4", "taskset"),
    ({"quota": 1.5}, "note", "CPU quota", "1.5 cores' worth", "--host-devices 1"),
    ({"load": 2.1}, "note", "load", "not to be quoted", "wait until"),
    ({"memory": (16 * GIB, GIB, None)}, "note", "memory", "1.0 GiB free", "--max-memory"),
    ({"memory": (16 * GIB, 9 * GIB, GIB)}, "note", "memory", "leaves 1.0 GiB", "--max-memory"),
    (
        {"out": Folder("there", "read-only file system")},
        *("problem", "--out", "cannot write to there: read-only", "--out DIR"),
    ),
    ({"out": Folder("there", free=GIB // 2)}, "note", "--out", "0.5 GiB free", "make room"),
    (
        {"out": Folder("there", locks=False, free=50 * GIB)},
        *("note", "locks", "two writers", "--out DIR"),
    ),
    ({"cache": Folder("c", "denied")}, "note", "cache", "compiles anew", "CACHE_DIR=DIR"),
]


def test_a_sound_machine_is_told_so():
    assert [one for one in findings() if one.level != "ok"] == []
    fine = {"load": 2.0, "quota": 4.0, "memory": (16 * GIB, 2 * GIB, 1 << 62), "cache": None}
    fine |= variables(
        XLA_FLAGS="--xla_force_host_platform_device_count=4",
        JAX_ENABLE_X64="0",
        JAX_PLATFORMS="cpu",
        CUDA_VISIBLE_DEVICES="",
        JAX_DEFAULT_PRNG_IMPL="threefry2x32",
    )
    assert [one for one in findings(**fine) if one.level != "ok"] == []
    on_a_gpu = {"gpu": True, **version(jax_cuda12_plugin="0.10.2.post1")}
    on_a_gpu |= variables(JAX_PLATFORMS="cuda,cpu", CUDA_VISIBLE_DEVICES="0")
    assert [one for one in findings(**on_a_gpu) if one.level != "ok"] == []


@pytest.mark.parametrize(("changes", "level", "name", "words", "remedy"), BAD)
def test_what_goes_wrong_is_told_with_its_remedy(changes, level, name, words, remedy):
    (one,) = (one for one in findings(**changes) if one.level != "ok")
    assert (one.level, one.name) == (level, name)
    assert words in one.found
    assert remedy in one.remedy + one.command


def test_where_there_is_nothing_every_check_still_says_something():
    found = findings(versions={}, declared=[], jax_declared=[], python="3.10.0", commit=None)
    assert {"Python", "rlbench", "ray"} <= {one.name for one in found if one.level != "ok"}


def test_the_tested_versions_are_those_of_the_lock():
    wanted = {canonicalize_name(Requirement(need).name) for need in PROJECT["dependencies"]}
    wanted |= {"jaxlib"}
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = [Requirement(line) for line in lines if line and not line.startswith(("#", " "))]
    classifiers = {p for p in ("3.10", "3.11", "3.12", "3.13", "3.14") if _supports(p)}
    assert set(pins.supported()) == classifiers
    for python in pins.supported():
        here = {"python_full_version": f"{python}.4", "python_version": python}
        locked_here = {
            canonicalize_name(one.name): str(one.specifier).removeprefix("==")
            for one in locked
            if one.marker is None or one.marker.evaluate(here)
        }
        assert pins.tested(f"{python}.4") == {name: locked_here[name] for name in wanted}


def _supports(python: str) -> bool:
    return Requirement(f"python{PROJECT['requires-python']}").specifier.contains(f"{python}.4")


def test_a_folder_is_tried_where_it_would_be_made_and_nothing_is_left(tmp_path):
    found = folder(tmp_path / "not" / "there", "shown")
    assert found.error == "" and found.locks and found.free > 0 and found.shown == "shown"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    assert folder(tmp_path / "file" / "below", "f").error == "not a directory"
    assert locks_work(tmp_path / "file")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "link", tmp_path / "link" / "below"):
        assert "through a link to what is not there" in folder(path, "l").error
        with pytest.raises(OSError):
            path.mkdir(parents=True)
    (tmp_path / "nowhere").mkdir()
    assert folder(tmp_path / "link" / "below", "l").error == ""


def doctor(first: str, cwd: Path, *argv: str, **environ: str):
    """The command in a process of its own, which also tells whether it imported jax."""
    code = f"import sys\n{first}\nfrom rlbench.cli import main\n"
    code += f"code = main(['doctor', *{list(argv)}])\n"
    code += "print('jax' in sys.modules, file=sys.stderr)\nsys.exit(code)"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_", "XDG_"))}
    given = {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "HOME": str(cwd), **environ}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        env={**kept, **given},
    )


def test_here_there_is_no_problem_and_no_name_and_it_fits_80_columns(tmp_path):
    home = tmp_path / "somebody"
    home.mkdir()
    done = doctor("", home, JAX_PLATFORMS="cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "False\n"  # jax was left to the process that looked
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"(no note|1 note|\d+ notes), no problem", lines[-1])
    assert re.fullmatch(r"ok       jax: starts, 1 cpu device, known results are right", lines[-2])
    listed = [line.split()[0] for line in lines[:-1] if line[0] != " "]
    assert set(listed) <= {"ok", "note"} and f"{listed.count('note') or 'no'} note" in lines[-1]
    assert all(len(line) <= 80 for line in lines if line.split()[0] != "$")
    assert "~/.cache/rlbench/programs" in done.stdout and "results can be" in done.stdout
    assert "somebody" not in done.stdout
    assert list(home.iterdir()) == []


def test_six_that_cannot_be_imported_is_a_problem(tmp_path):
    done = doctor("sys.modules['six'] = None", tmp_path, JAX_PLATFORMS="cpu")
    assert done.returncode == 5, done.stderr
    assert "problem  gymnax: cannot be imported without six" in done.stdout
    assert f"$ python -m pip install six=={VERSIONS['six']}\n" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(", 1 problem")


def test_a_folder_that_is_a_file_and_a_platform_that_is_none_are_problems(tmp_path):
    (tmp_path / "file").write_text("")
    done = doctor("", tmp_path, "--out", str(tmp_path / "file"), JAX_PLATFORMS="nonsense")
    assert done.returncode == 5, done.stderr
    assert "problem  --out: cannot write to ~/file: not a directory" in done.stdout
    assert "problem  jax: does not start: RuntimeError: Unable to initialize" in done.stdout
    assert "$ unset JAX_PLATFORMS" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(", 2 problems")


def test_a_run_keeps_its_programs_in_the_folder_that_is_looked_at(tmp_path):
    code = "import jax\nfrom rlbench.options import set_up_jax\nset_up_jax({}, 1)\n"
    code += "from rlbench.installed import own_cache\n"
    code += "print(jax.config.jax_compilation_cache_dir, own_cache())"
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    for given, both in [
        ({"XDG_CACHE_HOME": str(tmp_path)}, [str(tmp_path / "rlbench" / "programs")] * 2),
        ({"JAX_COMPILATION_CACHE_DIR": str(tmp_path)}, [str(tmp_path), "None"]),
    ]:
        told = subprocess.check_output(
            [sys.executable, "-c", code], text=True, cwd=ROOT, env={**kept, **given}
        )
        assert told.split() == both


@pytest.mark.parametrize(
    ("argv", "words"), [(["--oot", "x"], "'--out'"), (["--out", ""], "must name a directory")]
)
def test_a_bad_flag_is_one_sentence(argv, words, capsys):
    assert main(["doctor", *argv]) == 2
    told = capsys.readouterr()
    assert told.out == "" and words in told.err and told.err.count("\n") == 1
