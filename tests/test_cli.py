"""The command line as a person meets it: what it writes, repeats and refuses."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlbench.cli import main
from rlbench.store import read_run

ROOT = Path(__file__).resolve().parents[1]
QUICK = ["--env", "cartpole", "--algo", "eggroll", "--set", "pop_size=16", "--budget", "2e4"]
QUICK += ["--eval-episodes", "8"]


def rlbench(*argv):
    """The command line in a process of its own, as from an uninstalled checkout."""
    return subprocess.run(
        [sys.executable, "-m", "rlbench", *argv],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=False,
    )


def test_a_run_writes_its_directory_and_its_config_repeats_it_bit_for_bit(tmp_path):
    first = rlbench("run", *QUICK, "--seed", "3", "--out", str(tmp_path / "a"))
    assert first.returncode == 0, first.stderr
    (path,) = (tmp_path / "a").glob("adhoc/gymnax-CartPole-v1/eggroll-*/seed-0003")
    names = {p.name for p in path.iterdir()}
    files = {"config.json", "provenance.json", "status.json", "metrics.jsonl"}
    assert names == files | {"policy.safetensors"}
    record = read_run(path)
    assert f"{record.status['simulated_env_steps']:,} env steps" in first.stdout
    assert "random actions" in first.stdout and "500" in first.stdout
    assert str(path.name) in first.stdout
    again = rlbench(
        "run",
        "--config",
        str(path / "config.json"),
        "--out",
        str(tmp_path / "b"),
        "--host-devices",
        "1",
        "--quiet",
    )
    assert again.returncode == 0, again.stderr
    repeated = read_run(Path(again.stdout.strip()))
    assert repeated.status["state_sha256"] == record.status["state_sha256"]
    assert [r["returns"] for r in repeated.evaluations] == [
        r["returns"] for r in record.evaluations
    ]
    shown = rlbench("show", str(path))
    assert shown.returncode == 0 and "eggroll on gymnax/CartPole-v1" in shown.stdout


def test_ctrl_c_ends_cleanly_with_what_was_learned(tmp_path):
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "rlbench.run",
            *QUICK[:-4],
            "--budget",
            "1e12",
            "--out",
            str(tmp_path),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        time.sleep(0.5)
        found = list(tmp_path.glob("**/metrics.jsonl"))
        if found and '"updates"' in found[0].read_text():
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert "Traceback" not in err
    record = read_run(found[0].parent)
    assert record.status["status"] == "interrupted"
    assert record.evaluations[-1]["updates"] == record.status["updates"] > 0
    assert "interrupted" in out


BAD = {
    "unknown env": (["--env", "antt"], "did you mean 'ant'"),
    "unknown backend": (["--env", "ant@sprung"], "spring, positional"),
    "refused env": (["--env", "swimmer"], "a_min"),
    "refused on a cpu": (["--env", "pusher@mjx"], "refused on a CPU"),
    "unknown algo": (["--algo", "egroll"], "did you mean 'eggroll'"),
    "unknown option": (["--bugdet", "1e6"], "did you mean '--budget'"),
    "unknown setting": (["--set", "learning_rat=0.1"], "did you mean 'learning_rate'"),
    "setting without a value": (["--set", "sigma"], "NAME=VALUE"),
    "zero budget": (["--budget", "0"], "at least 1"),
    "negative budget": (["--budget", "-5"], "at least 1"),
    "nan budget": (["--budget", "nan"], "whole number"),
    "infinite budget": (["--budget", "inf"], "whole number"),
    "budget in words": (["--budget", "lots"], "number such as 2e6"),
    "budget below one update": (["--budget", "10"], "smaller than one update"),
    "negative seconds": (["--budget-seconds", "-1"], "positive finite"),
    "nan seconds": (["--budget-seconds", "nan"], "positive finite"),
    "odd pop_size": (["--set", "pop_size=7"], "nearest is 8"),
    "no pop_size": (["--set", "pop_size=0"], "even number of at least 2"),
    "rank 0": (["--set", "rank=0"], "rank must be at least 1"),
    "negative rank": (["--set", "rank=-2"], "rank must be at least 1"),
    "fractional rank": (["--set", "rank=1.5"], "must be an integer"),
    "infinite sigma": (["--set", "sigma=inf"], "positive finite"),
    "zero learning rate": (["--set", "learning_rate=0"], "positive finite"),
    "nan learning rate": (["--set", "learning_rate=nan"], "positive finite"),
    "unknown optimizer": (["--set", "optimizer=adan"], "did you mean 'adam'"),
    "a word for a truth": (["--set", "rank_transform=yes"], "true or false"),
    "empty layer": (["--set", "hidden=[0]"], "at least 1"),
    "unknown activation": (["--set", "activation=tan"], "did you mean 'tanh'"),
    "unknown settings": (["--settings", "papre"], "did you mean 'paper'"),
    "unknown device": (["--device", "tpu"], "choose from cpu, gpu"),
    "no gpu here": (["--device", "gpu"], "no GPU here"),
    "negative seed": (["--seed", "-1"], "from 0 to"),
    "seed in words": (["--seed", "abc"], "number"),
    "suite that climbs out": (["--suite", "../../x"], "cannot be a folder's name"),
    "no evaluation": (["--eval-episodes", "0"], "at least 1"),
    "missing config": (["--config", "nowhere.toml"], "cannot read config file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_gets_one_sentence_and_status_2_and_writes_nothing(name, tmp_path, capfd):
    arguments, expected = BAD[name]
    out = tmp_path / "out"
    status = main(["run", *QUICK, "--out", str(out), *arguments])
    captured = capfd.readouterr()
    assert status == 2
    assert expected in captured.err
    assert captured.err.startswith("rlbench: ") and captured.err.count("\n") == 1
    assert captured.out == "" and not out.exists()


CONFIGS = {
    "malformed.toml": ("env = ", "not valid TOML"),
    "malformed.json": ("{", "not valid JSON"),
    "list.json": ("[1]", "must hold a table"),
    "unknown.toml": ('envv = "cartpole"', "did you mean 'env'"),
    "type.toml": ('seed = "one"', "must be an integer"),
    "nested.toml": ("settings = 3", "must be a table"),
    "setting.toml": ("[settings]\nsigm = 0.1", "did you mean 'sigma"),
    "schema.json": ('{"schema": 99}', "another schema"),
    "env.toml": ("env = 3", "unknown env"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_bad_config_file_gets_one_sentence(name, tmp_path, capfd):
    text, expected = CONFIGS[name]
    file = tmp_path / name
    file.write_text(text)
    flags = [] if name == "env.toml" else QUICK
    extra = ["--algo", "eggroll"] if name == "env.toml" else []
    out = tmp_path / "out"
    assert main(["run", *flags, *extra, "--out", str(out), "--config", str(file)]) == 2
    error = capfd.readouterr().err
    assert expected in error and error.count("\n") == 1
    assert not out.exists()


def test_a_config_file_is_overridden_by_flags(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('env = "cartpole"\nalgo = "open_es"\nseed = 5\n[settings]\npop_size = 32\n')
    from rlbench.options import RunOptions, resolve

    config = resolve(RunOptions(config=str(file), seed="6", set=("sigma=0.2",)))
    assert (config.algo, config.seed) == ("open_es", 6)
    assert config.settings["pop_size"] == 32 and config.settings["sigma"] == 0.2


def test_an_existing_run_is_refused_with_the_command_that_replaces_it(tmp_path, capfd):
    argv = ["run", *QUICK, "--out", str(tmp_path), "--quiet"]
    assert main(argv) == 0
    path = Path(capfd.readouterr().out.strip())
    before = (path / "metrics.jsonl").read_bytes()
    assert main(argv) == 2
    error = capfd.readouterr().err
    assert "--overwrite" in error and "python -m rlbench.run" in error and error.count("\n") == 1
    assert (path / "metrics.jsonl").read_bytes() == before
    assert main([*argv, "--overwrite"]) == 0


def test_an_output_directory_that_is_a_file_is_refused(tmp_path, capfd):
    file = tmp_path / "file"
    file.write_text("mine")
    assert main(["run", *QUICK, "--out", str(file)]) == 2
    assert "is not a directory" in capfd.readouterr().err
    assert file.read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_an_output_directory_that_nobody_may_write_is_refused(capfd):
    # Not by its permission bits, so that this fails for root too.
    assert main(["run", *QUICK, "--out", "/proc/rlbench"]) == 2
    error = capfd.readouterr().err
    assert "cannot write to /proc/rlbench" in error and "Traceback" not in error


LONG = "x" * 5_000


@pytest.mark.parametrize(
    "argv",
    [
        ["run", "--env", "cartpole", "--algo", "eggroll", "--budget", "1e4", "--out"],
        ["report", "runs", "--out"],
        ["sweep", "smoke", "--out"],
        ["tune", "cartpole_tuning", "--out"],
        ["reproduce", "memory", "--out"],
        ["verify"],
        ["show"],
        ["export"],
        ["play"],
        ["render"],
    ],
    ids=lambda argv: argv[0],
)
def test_words_that_cannot_be_a_path_are_told_in_a_sentence(argv, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    for name in (LONG, f"circle/{LONG[:9]}", "not-utf-8-\udcff"):
        assert main([*argv, name]) == 2
        error = capfd.readouterr().err
        assert error.splitlines()[-1].startswith("rlbench: ") and error.count("rlbench: ") == 1
        assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["circle"]


def test_lists_import_no_jax():
    for kind in ("envs", "agents"):
        code = (
            "import sys; from rlbench.cli import main; main(['list', sys.argv[1]]); "
            "assert not {'jax', 'brax', 'gymnax'} & set(sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, kind],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert {"envs": "brax/ant@spring", "agents": "open_es"}[kind] in done.stdout


def test_the_budget_of_the_paper_has_a_name():
    from rlbench.options import RunOptions, resolve

    config = resolve(RunOptions(env="ant", algo="eggroll", budget="paper", settings="paper"))
    assert config.budget_env_steps == 500_000_000
    assert config.settings["pop_size"] == 2048 and "Table 19" in config.settings_source
    assert str(config.network) == "3x256 pqn"
    assert json.dumps(config.to_json())
