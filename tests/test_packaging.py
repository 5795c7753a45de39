"""The wheel holds one import name, and `rlbench` is found whatever folders lie around it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_s_only_top_level_name_is_rlbench(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {t for t in top if not t.endswith(".dist-info")} == {"rlbench"}


def test_the_wheel_holds_code_and_data_of_every_folder(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("rlbench", "envs", "agents", "analysis", "analysis/reproduced"):
        prefix = "rlbench/" if folder == "rlbench" else f"rlbench/{folder}/"
        for file in (ROOT / folder).glob("*.py"):
            assert prefix + file.name in names
    for data in ("envs/envs.toml", "envs/judges.toml", "envs/scores.toml", "agents/agents.toml"):
        assert f"rlbench/{data}" in names
    for file in (ROOT / "sweeps").rglob("*.toml"):
        assert f"rlbench/{file.relative_to(ROOT).as_posix()}" in names
    assert {"viewer.min.js", "LICENSES.txt"} <= {
        name.removeprefix("rlbench/envs/brax_viewer/") for name in names
    }
    assert {"rlbench/agents/settings/paper.toml", "rlbench/agents/settings/laptop.toml"} <= names


def run_among_decoys(folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    for name in ("agents", "envs", "analysis", "sweeps"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise SystemExit('decoy')\n")
    run = ["--env", "cartpole", "--algo", "eggroll", "--set", "pop_size=4", "--budget", "4e3"]
    return subprocess.run(
        [sys.executable, "-m", "rlbench.run", *run, "--eval-episodes", "2", "--quiet"],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "HOME": str(folder)},
    )


def test_the_wheel_runs_from_a_folder_with_other_agents_and_envs(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "work").mkdir()
    done = run_among_decoys(tmp_path / "work", str(site))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work" / done.stdout.strip() / "status.json").exists()


def test_an_uninstalled_checkout_runs_from_a_folder_with_other_agents_and_envs(tmp_path):
    done = run_among_decoys(tmp_path, str(ROOT))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.strip() / "status.json").exists()
