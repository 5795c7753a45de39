"""Agents and environments of others: found by name, loaded alone, checked, and recorded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlbench import plugins
from rlbench.cli import main
from rlbench.errors import UsageError
from rlbench.registry import complete, find_agent, find_env, make_env
from rlbench.store import read_run

ROOT = Path(__file__).resolve().parents[1]
BROKEN = "tests.broken_plugins:"
RUN = ["--budget", "3e3", "--eval-episodes", "4", "--host-devices", "1", "--quiet"]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution where Python finds it: entry points, and the files it brings."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def add(name, version, agents=(), envs=(), **files):
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        groups = {"rlbench.agents": agents, "rlbench.envs": envs}
        text = "".join(f"[{g}]\n" + "".join(f"{p}\n" for p in ps) for g, ps in groups.items())
        (info / "entry_points.txt").write_text(text)
        for file, content in files.items():
            (site / f"{file}.py").write_text(content)
        plugins.announced.cache_clear()
        return site

    yield add
    plugins.announced.cache_clear()


def rlbench(*argv, cwd=ROOT, path=""):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "rlbench", *argv],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{path}:{ROOT}", "HOME": str(cwd)},
    )


def test_names_are_listed_without_importing_anything(install, tmp_path):
    site = install(
        "bomb", "1.0", ["boom = bomb:Boom"], ["bang = bomb:Bang"], bomb="raise SystemExit('bomb')"
    )
    for kind, name in (("agents", "boom"), ("envs", "bang")):
        done = rlbench("list", kind, cwd=tmp_path, path=site)
        assert done.returncode == 0, done.stderr
        assert name in done.stdout and "bomb 1.0" in done.stdout


def test_a_plugin_that_raises_at_import_is_named_with_its_traceback_and_the_rest_works(
    install, tmp_path, capfd
):
    install("bomb", "1.2", ["boom = bomb:Boom"], bomb="x = 1\nraise ValueError('wires crossed')\n")
    out = tmp_path / "out"
    assert main(["run", "--env", "cartpole", "--algo", "boom", "--out", str(out), *RUN]) == 2
    error = capfd.readouterr().err
    first, *rest = error.splitlines()
    assert "agent 'boom' of bomb 1.2 cannot be imported: ValueError: wires crossed" in first
    assert any("bomb.py" in line and "line 2" in line for line in rest)
    assert not any("importlib" in line or "rlbench/plugins.py" in line for line in rest)
    assert not out.exists()
    assert find_agent("eggroll").plugin is None


def test_names_that_do_not_exist_in_a_plugin_offer_those_that_do(install):
    install("short", "1", ["gone = short:Gon", "lost = nowhere:X"], short="class Gone: pass\n")
    with pytest.raises(UsageError, match=r"of short 1 .*has no 'Gon'; did you mean 'Gone'"):
        plugins.load(find_agent("gone").plugin)
    with pytest.raises(UsageError, match=r"of short 1 cannot be loaded: no module named 'nowhere'"):
        plugins.load(find_agent("lost").plugin)


def test_two_owners_of_a_name_are_both_named(install):
    install("one", "1.0", ["mine = one:A"], ["cartpole = one:E"])
    install("two", "2.0", ["mine = two:B", "ppo = two:P"])
    with pytest.raises(UsageError, match=r"one 1\.0 and two 2\.0 have one.* one:A, two:B"):
        find_agent("mine")
    with pytest.raises(UsageError, match=r"rlbench itself and two 2\.0 have one.* two:P"):
        find_agent("ppo")
    with pytest.raises(UsageError, match=r"--env cartpole could mean .*rlbench itself and one"):
        find_env("cartpole")
    assert find_agent("eggroll").name == "eggroll"


def test_one_distribution_that_is_found_twice_is_one(install, tmp_path):
    site = install("same", "1.0", ["mine = same:A"])
    copy = tmp_path / "copy"
    copy.mkdir()
    for info in site.glob("*.dist-info"):
        (copy / info.name).mkdir()
        for file in info.iterdir():
            (copy / info.name / file.name).write_text(file.read_text())
    sys.path.insert(0, str(copy))
    try:
        plugins.announced.cache_clear()
        assert find_agent("mine").make == "same:A"
    finally:
        sys.path.remove(str(copy))


def test_unknown_names_offer_those_of_plugins(install):
    install("one", "1.0", ["gradient_bandit = one:A"], ["one/maze = one:E"])
    with pytest.raises(UsageError, match="did you mean 'gradient_bandit'"):
        find_agent("gradient_bandot")
    with pytest.raises(UsageError, match="did you mean 'one/maze'"):
        find_env("one/mase")


def test_a_plugin_s_run_says_whose_it_is(install, tmp_path, capfd):
    text = "from tests.broken_plugins import Good, Sized\n"
    install("fine", "3.1", ["fine = fine:Good"], ["fine/push = fine:Sized"], fine=text)
    argv = ["run", "--env", "fine/push", "--algo", "fine", "--out", str(tmp_path / "out")]
    assert main([*argv, "--set", "pace=0.25", *RUN[2:]]) == 0
    record = read_run(Path(capfd.readouterr().out.strip()))
    assert record.path.parts[-3:-1] == ("fine-push", f"fine-{record.path.parts[-2][-8:]}")
    assert record.config["budget_env_steps"] == 5000 and record.config["block_lanes"] == 16
    assert record.config["settings"] == {"episodes": 8, "pace": 0.25}
    assert "defaults of fine 3.1" in record.config["settings_source"]
    assert record.provenance["plugins"] == [
        {"kind": k, "name": n, "path": p, "distribution": "fine", "version": "3.1"}
        for k, n, p in (("agent", "fine", "fine:Good"), ("env", "fine/push", "fine:Sized"))
    ]
    plugins.announced.cache_clear()
    sys.path[:] = [p for p in sys.path if not p.endswith("site")]
    assert main(["show", str(record.path)]) == 0  # also where the plugin is not installed
    assert "not measured for this environment" in capfd.readouterr().out


def test_a_class_is_named_by_where_it_is_also_from_the_current_folder(tmp_path):
    (tmp_path / "mine.py").write_text("from tests.broken_plugins import Good, Sized\n")
    argv = ["--algo", "mine:Good", "--env", "mine:Sized", *RUN]
    done = rlbench("run", *argv, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / done.stdout.strip()
    assert path.parts[-4:-2] == ("adhoc", "mine-Sized")
    plugin = json.loads((path / "provenance.json").read_text())["plugins"][0]
    assert plugin["path"] == "mine:Good" and plugin["distribution"] is None
    again = ["--config", str(path / "config.json"), "--out", "again", "--quiet"]
    refused = rlbench("run", *again, cwd=tmp_path)
    assert refused.returncode == 2 and not (tmp_path / "again").exists()
    assert "names code that is not rlbench's, 'mine:Sized'" in refused.stderr
    repeated = rlbench("run", *again, "--allow-code", cwd=tmp_path)
    assert repeated.returncode == 0, repeated.stderr
    hashes = [
        json.loads((tmp_path / p / "status.json").read_text())["state_sha256"]
        for p in (path, repeated.stdout.strip())
    ]
    assert hashes[0] == hashes[1]


AGENTS = {
    "WrongShape": (2, "must return an integer of shape [] from `act`, not int32[1]"),
    "NotANumber": (2, "made weight NaN or infinite in one update"),
    "Grows": (2, "changes the structure of its state in `step`: weight is float32[3] before"),
    "Liar": (2, "for an update in which the environment was stepped"),
    "Silent": (2, "must report 'live_env_steps'"),
    "Raises": (2, "raised in `step`: ValueError: no step for you"),
    "NoAct": (2, "has no method env_steps_per_update, init, step, act"),
    "NoDataclass": (2, "must be a frozen dataclass whose fields are its settings"),
    "Nobody": (2, "has no 'Nobody'"),
}


@pytest.mark.parametrize("name", AGENTS)
def test_a_broken_agent_is_refused_before_anything_is_written(name, tmp_path, capfd):
    status, words = AGENTS[name]
    out = tmp_path / "out"
    argv = ["run", "--env", "cartpole", "--algo", BROKEN + name, "--out", str(out)]
    assert main([*argv, *RUN, "--budget", "1e5"]) == status
    error = capfd.readouterr().err
    assert f"agent '{BROKEN}{name}' of module tests.broken_plugins" in error.splitlines()[0]
    assert words in error.splitlines()[0], error
    assert not out.exists()


ENVS = {
    "NanPay": "pays NaN or infinity before an episode's end",
    "WrongObs": "must return floats of shape [5] from `reset`, not float32[3]",
    "ChangingState": "t is int32[] before and float32[] after",
    "NeedsArguments": "cannot be made without arguments: TypeError",
}


@pytest.mark.parametrize("name", ENVS)
def test_a_broken_environment_is_refused_before_anything_is_written(name, tmp_path, capfd):
    out = tmp_path / "out"
    argv = ["run", "--env", BROKEN + name, "--algo", "random", "--out", str(out), *RUN]
    assert main([*argv, "--set", "episodes=4"]) == 2
    first = capfd.readouterr().err.splitlines()[0]
    assert f"env '{BROKEN}{name}' of module tests.broken_plugins" in first
    assert ENVS[name] in first and not out.exists()


LATE = {
    "Liar": (["first=2", "share=2"], "failed", "the environment was stepped"),
    "Liar, at once": (["first=2", "share=100000"], "failed", "update 3 of", "reported 0 simulated"),
    "NotANumber": (["first=2"], "diverged", "in update 3 weight of the state"),
    "RaisesLate": ([], "failed", "ValueError: enough"),
}


@pytest.mark.parametrize("name", LATE)
def test_what_breaks_later_ends_the_run_with_status_3_and_a_reason(name, tmp_path, capfd):
    settings, status, *words = LATE[name]
    algo = BROKEN + name.partition(",")[0]
    argv = ["run", "--env", BROKEN + "Sized", "--algo", algo, "--out", str(tmp_path), *RUN]
    assert main([*argv, *(word for s in settings for word in ("--set", s))]) == 3
    (path,) = tmp_path.glob("*/*/*/seed-0000")
    record = read_run(path)
    assert record.status["status"] == status
    for word in words:
        assert word in record.status["reason"]


def test_a_good_environment_of_others_says_what_to_spend_on_it():
    entry = find_env(BROKEN + "Sized")
    full = complete(entry, make_env(entry))
    assert (full.max_steps, full.budget, full.block_lanes) == (12, 5000, 16)
    with pytest.raises(UsageError, match="has no backends; leave out '@spring'"):
        find_env(BROKEN + "Sized@spring")


def test_check_tells_pass_from_fail_by_its_exit_status(capfd):
    assert main(["check", BROKEN + "Good", BROKEN + "Sized"]) == 0
    assert "all 26 checks passed" in capfd.readouterr().out
    assert main(["check", BROKEN + "Liar", "--env", BROKEN + "Sized"]) == 3
    out = capfd.readouterr().out
    assert "FAIL budget" in out and "was stepped" in out
    assert main(["check", BROKEN + "Raises"]) == 3
    assert "raised in `step`: ValueError: no step for you" in capfd.readouterr().out
    assert main(["check", "egroll"]) == 2
    assert "did you mean 'eggroll'" in capfd.readouterr().err
    assert main(["check"]) == 2


def test_help_documents_the_settings_of_the_chosen_agent(capfd):
    with pytest.raises(SystemExit):
        main(["run", "--algo", BROKEN + "Good", "--help"])
    out = capfd.readouterr().out
    assert "how far the weight moves" in out and "episodes that one update plays" in out
    with pytest.raises(SystemExit):
        main(["run", "--algo=ppo", "--env", "pendulum", "--help"])
    lines = [line for line in capfd.readouterr().out.splitlines() if " gamma " in line]
    assert "0.99" in lines[0] and "0.9 " in lines[0] and "discount" in lines[0]
