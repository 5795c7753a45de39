"""What is sound is called so, and every lie of a record is told, also if it was sealed anew."""

import json
import shutil
import sys
import unicodedata

import pytest

from rlbench.cli import main
from rlbench.display import printable
from rlbench.files import digest
from rlbench.seal import sealed
from tests.records import alter, find

RUN = ["run", "--env", "cartpole", "--algo", "random", "--budget", "4e5", "--eval-episodes", "4"]
RUN += ["--host-devices", "1", "--quiet"]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    out = tmp_path_factory.mktemp("good")
    assert main([*RUN, "--out", str(out)]) == 0
    return out


def told(path, capsys):
    status = main(["verify", str(path)])
    out = capsys.readouterr().out
    assert status == (5 if ", 0 with problems" not in out else 0)
    return out


def rewrite(run, change):
    """Changes the rows, and seals them anew."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    change(rows)
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status = json.loads((run / "status.json").read_text())
    status["files"]["metrics.jsonl"] = digest((run / "metrics.jsonl").read_bytes())
    (run / "status.json").write_text(json.dumps(sealed(status)))


def test_a_run_that_is_sound_is_called_so(good, capsys):
    assert "1 checked: 1 sound, 0 with problems" in told(good, capsys)


ROWS = {
    "return_mean of row 1": lambda rows: rows[0].update(return_mean=9),
    "has not the 4 episodes": lambda rows: rows[0]["returns"].pop(),
    "goes backwards": lambda rows: rows[-1].update(eval_env_steps=0),
    "repeats an update": lambda rows: rows.insert(1, rows[0]),
    "has more live env steps": lambda rows: rows[-1].update(live_env_steps=10**9),
    "is not that of the last evaluation": lambda rows: rows[-1].update(train_seconds=1e6),
    "no evaluation before training": lambda rows: rows.pop(0),
}


@pytest.mark.parametrize("problem", ROWS)
def test_rows_that_do_not_go_together_are_told(problem, good, tmp_path, capsys):
    shutil.copytree(good, tmp_path / "out")
    rewrite(find(tmp_path / "out"), ROWS[problem])
    assert problem in told(tmp_path / "out", capsys)


TABLES = {
    "config.json hashes to": ("config.json", {"evaluations": 11}),
    "and config.json seed 3": ("config.json", {"seed": 3}),
    "and config.json seed none": ("config.json", lambda c: c.pop("seed")),
    "is no configuration": ("config.json", {"typo": 3}),
    "has not spent its budget": ("config.json", {"budget_env_steps": 10**9}),
    "overshoot_env_steps is not": ("status.json", {"overshoot_env_steps": 7}),
    "is not the state that status.json names": ("status.json", {"state_sha256": "0" * 64}),
    "gives no reason": ("status.json", {"status": "failed", "reason": ""}),
    "memory in status.json is no table": ("status.json", {"memory": []}),
    "is no status": ("status.json", {"status": "splendid"}),
    "does not tell versions.jax": ("provenance.json", lambda p: p["versions"].pop("jax")),
    "does not tell argv": ("provenance.json", lambda p: p.pop("argv")),
}


@pytest.mark.parametrize("problem", TABLES)
def test_tables_that_cannot_be_are_told(problem, good, tmp_path, capsys):
    shutil.copytree(good, tmp_path / "out")
    run = find(tmp_path / "out")
    alter(run, *TABLES[problem])
    if TABLES[problem][0] == "provenance.json":
        status = json.loads((run / "status.json").read_text())
        status["files"]["provenance.json"] = digest((run / "provenance.json").read_bytes())
        (run / "status.json").write_text(json.dumps(sealed(status)))
    found = told(tmp_path / "out", capsys)
    assert problem in found and "not what was written" not in found


def test_a_cell_whose_run_says_something_else_or_is_elsewhere_is_told(good, tmp_path, capsys):
    file = tmp_path / "cells.toml"
    file.write_text('[[cell]]\nenv = "cartpole"\nalgo = "random"\nseeds = [1, 2]\nbudget = 4e5\n')
    assert main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    root = tmp_path / "out" / "cells"
    assert "3 checked: 3 sound" in told(root, capsys)
    one, two = sorted(root.glob(".sweep/*/done.json"))
    done = json.loads(one.read_text())
    one.write_text(json.dumps(sealed(done | {"status": "diverged"})))
    found = told(tmp_path, capsys)
    assert "is diverged, and its run" in found and "outside the sweep" not in found
    for path in ("../../elsewhere", "/etc", "", "\0"):
        two.write_text(json.dumps(sealed(json.loads(two.read_text()) | {"path": path})))
        assert "names a run outside the sweep" in told(tmp_path, capsys)
    (root / "sweep.json").write_text(
        (root / "sweep.json").read_text().replace("CartPole", "Acrobot")
    )
    assert "sweep.json is not what was written" in told(root, capsys)


@pytest.mark.parametrize(
    ("argv", "words"),
    [([], "say which run"), (["nowhere"], "is not a directory"), (["."], "no run directory in")],
)
def test_mistakes_are_told_in_one_sentence(argv, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["verify", *argv]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_nothing_of_a_run_is_obeyed_by_the_terminal_or_leads_out_of_it(good, tmp_path, capsys):
    shutil.copytree(good, tmp_path / "out")
    run = find(tmp_path / "out")
    alter(run, "status.json", {"status": "\x1b[31mred", "reason": "\x1b]0;title\x07"})
    for command in ("verify", "show", "resume", "export"):
        main([command, str(run)])
        seen = capsys.readouterr()
        assert not set("\x1b\x07") & set(seen.out + seen.err), command
    shutil.rmtree(run)
    shutil.copytree(find(good), run)
    (tmp_path / "mine").mkdir()
    for name in ("export", "tensorboard", "render"):
        (run / name).symlink_to(tmp_path / "mine")
    for argv in (["export"], ["export", "--to", "tensorboard"], ["render"]):
        assert main([argv[0], str(run), *argv[1:]]) == 2
        assert "is a link" in capsys.readouterr().err
    assert not list((tmp_path / "mine").iterdir())


@pytest.mark.parametrize("command", ["resume", "export", "play", "render"])
@pytest.mark.parametrize("name", ["env", "algo"])
def test_no_command_imports_what_a_run_names(command, name, good, tmp_path, capsys, monkeypatch):
    shutil.copytree(good, tmp_path / "out")
    run = find(tmp_path / "out")
    alter(run, "config.json", {name: "evil_module:Anything"})
    if command == "resume":
        alter(run, "status.json", {"status": "running"})
    (tmp_path / "evil_module.py").write_text(
        "import pathlib\npathlib.Path('imported').touch()\nclass Anything: pass\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main([command, str(run)]) == 2
    error = capsys.readouterr().err
    assert "names code that is not rlbench's" in error and error.count("\n") == 1
    assert not (tmp_path / "imported").exists()
    assert main([command, str(run), "--allow-code"]) == 2
    assert (tmp_path / "imported").exists()  # else the refusal above would prove nothing
    sys.modules.pop("evil_module", None)


def test_a_name_that_a_terminal_would_obey_is_shown_harmless(capsys):
    assert main(["show", "\x1b[31mred"]) == 2
    error = capsys.readouterr().err
    assert "red" in error and "\x1b" not in error


def test_what_is_shown_of_a_file_is_all_but_what_unicode_says_is_control():
    turning = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    gone = {c for c, shown in zip(every, printable("".join(every)), strict=True) if c != shown}
    assert gone >= {c for c in every if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}}
    assert gone >= {c for c in every if unicodedata.bidirectional(c) in turning}
    assert {unicodedata.category(c) for c in gone} == {"Cc", "Cs", "Cf", "Zl", "Zp"}


def test_a_set_without_a_run_that_can_be_read_is_told(good, tmp_path, capsys):
    shutil.copytree(good, tmp_path / "out")
    (find(tmp_path / "out") / "provenance.json").unlink()
    assert main(["compare", str(good), str(tmp_path / "out")]) == 2
    assert "RUNS_B holds no run that can be read" in capsys.readouterr().err
