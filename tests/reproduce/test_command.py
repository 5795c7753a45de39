"""`rlbench reproduce`: what is asked for is measured once, recorded whole, and told."""

import csv
import json
import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from rlbench.analysis.reproduced.view import find_views, module, view
from rlbench.cli import main
from rlbench.errors import UsageError
from rlbench.reproduce import record
from rlbench.reproduce.plan import cost
from rlbench.reproduce.spec import NAMES, PARTS, SCALES, read_spec
from rlbench.seal import sealed
from rlbench.sweep.command import shipped
from rlbench.sweep.resolver import Resolver
from tests.analysis.made_runs import make_cells

RECORDED = Path(__file__).resolve().parents[2] / "results" / "recorded"
SMALL = ["reproduce", "update_rank", "--scale", "small", "--out"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """What is there after one reproduction, with one of its cases taken out and asked for again."""
    found = tmp_path_factory.mktemp("out")
    assert main([*SMALL, str(found)]) == 0
    return found


def folder(out):
    return out / "reproduce" / "update_rank-small"


@pytest.mark.parametrize("name", NAMES)
def test_every_one_has_its_rules_and_its_file(name):
    found = module(name)
    assert found.title and not found.title.endswith(".")
    for scale in SCALES:
        spec = read_spec(name, scale)
        if name in PARTS["rl"]:
            assert spec is None if scale == "small" else spec.sweep in shipped() and not spec.cases
        else:
            assert (spec.cases and spec.seconds is not None) or scale == "paper"


def test_there_is_no_file_without_rules():
    stems = {f.name.partition(".")[0] for f in files("rlbench.sweeps.claims").iterdir()}
    assert stems - {"__init__", "__pycache__"} == set(NAMES)


def test_a_scale_changes_what_a_case_is_given_and_a_case_s_own_table_wins():
    text = files("rlbench.sweeps.claims").joinpath("update_rank.toml").read_text()
    data = tomllib.loads(text)
    small, laptop = (
        {case.name: case.params for case in read_spec("update_rank", scale).cases}
        for scale in ("small", "laptop")
    )
    assert laptop["rank"]["shapes"] == data["case"]["rank"]["shapes"]
    assert small["rank"]["shapes"] == data["small"]["rank"]["shapes"]
    assert small["learning"]["seeds"] == data["small"]["seeds"] != laptop["learning"]["seeds"]
    assert "measure" not in small["rank"] and "learning" not in small["rank"]


def test_figure_data_and_verdict_lie_beside_the_record(out, capsys):
    names = {path.name for path in folder(out).iterdir()}
    assert names == {
        "reproduction.json", "verdict.md", "data.csv",
        "update_rank.svg", "update_rank.pdf", "update_rank.png",
    }  # fmt: skip
    data = record.read(folder(out))
    one = view(data, out)
    told = (folder(out) / "verdict.md").read_text()
    assert all(finding.measured in told and finding.rule in told for finding in one.findings)
    assert data["provenance"]["versions"]["jax"] in told and one.command in told
    with (folder(out) / "data.csv").open() as f:
        assert len(list(csv.reader(f))) == 1 + len(one.reproduction.rows(one.data))


def test_what_was_measured_is_not_measured_again(out, monkeypatch):
    """Of the same code on the same machine; anything else is."""
    spec, data = read_spec("update_rank", "small"), record.read(folder(out))
    here = {**data["provenance"], "dirty": False}
    clean = {**data, "provenance": here}
    names = {case.name for case in spec.cases}
    assert record._kept(clean, spec, here).keys() == names
    for key in record.PROVENANCE:
        assert not record._kept(clean, spec, {**here, key: "another"}), key
    assert not record._kept(data, spec, {**here, "dirty": True})
    assert not record._kept(clean, read_spec("update_rank", "laptop"), here)
    failed = {"name": "rank", "kind": "update_rank", "params": {}, "failed": "why"}
    partly = {**clean, "cases": [failed, *data["cases"][1:]]}
    assert record._kept(partly, spec, here).keys() == names - {"rank"}
    for commit, done in ((here["commit"], 1), ("another", 0)):
        provenance = {**here, "commit": commit}
        monkeypatch.setattr("rlbench.bench.driver.provenance", lambda p=provenance: p)
        assert record.done(partly, spec) == done and record.done(None, spec) == 0


def test_it_goes_on_with_what_is_left(out, monkeypatch):
    data = record.read(folder(out))
    here = {**data["provenance"], "dirty": False}
    kept = [{**row, "seconds": 4321.0} for row in data["cases"]]
    record.write(folder(out), {**data, "provenance": here, "cases": kept[1:]})
    monkeypatch.setattr("rlbench.bench.driver.provenance", lambda: here)
    assert main([*SMALL, str(out)]) == 0
    seconds = {row["name"]: row["seconds"] for row in record.read(folder(out))["cases"]}
    assert seconds["learning"] == 4321.0 and seconds["rank"] < 4000


@pytest.mark.parametrize(
    "argv, told",
    [
        ([], "say what to reproduce"),
        (["convergense"], "convergence"),
        (["all", "marginals"], "stands alone"),
        (["marginals", "--scale", "huge"], "--scale cannot be 'huge'"),
        (["noise_reuse", "--scale", "small"], "has nothing to run at --scale small"),
        (["table", "--out", "nowhere"], "no reproduction at --scale laptop"),
        (["marginals", "--colour"], "unknown argument"),
    ],
)
def test_a_mistake_is_a_sentence(argv, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", *argv]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_damaged_record_is_a_sentence(out, tmp_path, capsys):
    data = record.read(folder(out))
    other = folder(tmp_path)
    record.write(other, data)
    path = other / record.FILE
    text = path.read_text()
    for broken in (text[:-9], text.replace('"small"', '"large"'), "[]", '{"schema": 1}'):
        path.write_text(broken)
        assert main(["reproduce", "table", "--scale", "small", "--out", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "Traceback" not in error


def test_a_record_of_a_stranger_s_is_a_sentence(out):
    """With a seal, and yet without what its rules look at."""
    data = record.read(folder(out))
    rows = [{**row, "values": {"rows": [{}]}} for row in data["cases"]]
    names = [{"name": "../evil"}, {"name": "os"}, {"sweep": "../../elsewhere"}, {"scale": "/"}]
    for bad in ({"cases": rows}, {"cases": [1]}, {"provenance": {}}, *names):
        with pytest.raises(UsageError):
            view(sealed({**data, **bad}), out)


def test_verify_tells_what_a_record_lacks(out, tmp_path, capsys):
    def told(status):
        assert main(["verify", str(tmp_path)]) == status
        return capsys.readouterr().out

    data = record.read(folder(out))
    path = folder(tmp_path) / record.FILE
    record.write(folder(tmp_path), data)
    assert "1 checked: 1 sound, 0 with problems" in told(0)
    whole = path.read_text()
    path.write_text(whole[:-9])
    assert f"{folder(tmp_path)} (reproduction): {record.FILE} cannot be read" in told(5)
    path.write_text(whole.replace('"small"', '"large"'))
    assert f"{record.FILE} is damaged" in told(5)
    # Sealed anew: only what it holds can tell.
    record.write(folder(tmp_path), {**data, "cases": [{}]})
    assert "lacks what a reproduction records" in told(5)
    record.write(folder(tmp_path), {**data, "provenance": {"commit": "c", "versions": {}}})
    assert "does not tell hardware" in told(5)
    failed = {"name": "rank", "kind": "update_rank", "params": {}, "failed": "why"}
    record.write(folder(tmp_path), {**data, "cases": [failed]})
    assert "not measured: rank" in told(0)
    path.unlink()
    path.mkdir()
    assert main(["verify", str(tmp_path)]) == 2
    assert "there is no run directory" in capsys.readouterr().err


def test_what_only_its_figure_stumbles_over_is_a_sentence_too(tmp_path, capsys):
    """The rules look at the curves, the figure at the counts beside them."""
    data = record.read(RECORDED / "reproduce" / "marginals-laptop")
    data["cases"][0]["values"]["ranks"]["5"]["counts"][1] = "x"
    record.write(tmp_path / "reproduce" / "marginals-laptop", data)
    assert view(data, tmp_path).findings
    assert main(["reproduce", "table", "--out", str(tmp_path), "--docs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "the record of marginals is not as expected" in error and error.count("\n") == 1
    make_cells(tmp_path / "runs", {"eggroll": 480.0})
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "report")]) == 0
    assert "marginals-laptop is left out: the record of" in capsys.readouterr().out


@pytest.mark.parametrize(
    "bad",
    [
        {"cases": 3},
        {"cases": [[]]},
        {"cases": [{"name": "rank"}]},
        {"provenance": 1},
        {"ended": ...},
    ],
    ids=str,
)
def test_a_plan_of_a_stranger_s_record_is_a_sentence(bad, out, tmp_path, capsys):
    data = {**record.read(folder(out)), **bad}
    record.write(folder(tmp_path), {k: v for k, v in data.items() if v is not ...})
    assert main([*SMALL, str(tmp_path), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert "lacks what a reproduction records" in error and error.count("\n") == 1


def test_the_page_of_a_report_shows_it_and_the_table_lists_it(out, tmp_path):
    make_cells(out / "runs", {"eggroll": 480.0})
    report = tmp_path / "report"
    assert main(["report", str(out), "--out", str(report)]) == 0
    page = (report / "index.html").read_text()
    (one,), bad = find_views([out])
    assert not bad and 'id="claim-update_rank-small"' in page
    assert all(finding.verdict in page for finding in one.findings)
    assert json.loads((report / "report.json").read_text())["reproductions"] == {
        "update_rank-small": one.record["sha256"]
    }
    docs = tmp_path / "docs"
    argv = ["reproduce", "table", "--scale", "small", "--out", str(out), "--docs", str(docs)]
    assert main(argv) == 0
    text = (docs / "claims.md").read_text()
    assert (docs / "claims" / "update_rank.png").read_bytes()[:4] == b"\x89PNG"
    for finding in one.findings:
        assert f"| {finding.claim} | {finding.where} | **{finding.verdict}** |" in text


def test_a_plan_is_shown_and_nothing_written(tmp_path, capsys):
    argv = ["reproduce", "update_rank", "noise_reuse", "--out", str(tmp_path), "--dry-run"]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines[1:3]]
    assert names == ["update_rank", "noise_reuse"] and "0 of 30 cells" in lines[2]
    assert lines[-1].startswith("2 reproductions, in this order: about ")
    assert not list(tmp_path.iterdir())


def test_seconds_of_a_claim_s_runs_are_told_where_no_speed_is_known(tmp_path):
    spec = read_spec("rl_wallclock", "laptop")
    with Resolver() as ask:
        known, told = (
            cost(replace(spec, seconds=seconds), tmp_path, ask) for seconds in (None, 4800.0)
        )
    assert (known.parts, known.seconds, known.unknown) == (48, None, 48)
    assert (told.parts, told.done, told.seconds, told.unknown) == (48, 0, 4800.0, 0)
    plan = json.loads((RECORDED / "rl_wallclock" / "sweep.json").read_text())
    for cell in list(plan["cells"])[:12]:
        done = tmp_path / "rl_wallclock" / ".sweep" / cell / "done.json"
        done.parent.mkdir(parents=True)
        done.write_text(json.dumps(sealed({"status": "ok"})))
    with Resolver() as ask:
        rest = cost(replace(spec, seconds=4800.0), tmp_path, ask)
    assert (rest.parts, rest.done, rest.seconds) == (48, 12, 3600.0)


def test_runs_that_are_there_are_judged_as_they_are_and_say_when_they_ended(tmp_path, capsys):
    for reuse, mean in ((1, 480.0), (0, 200.0)):
        settings = {"noise_reuse": reuse}
        make_cells(tmp_path / "noise_reuse", {"eggroll": mean}, settings=settings)
    assert main(["reproduce", "noise_reuse", "--as-is", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("differ: ")
    (one,), _ = find_views([tmp_path])
    assert one.date == "2026-01-01" and one.machine == "Test CPU, 2 cores, 2 host devices"


def test_an_interrupted_one_ends_the_others(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(
        "rlbench.reproduce.plan.run_sweep", lambda spec, *_: begun.append(spec.name) or 4
    )
    assert main(["reproduce", "rank_sensitivity", "noise_reuse", "--out", str(tmp_path)]) == 4
    assert begun == ["rank_sensitivity"] and not list(tmp_path.iterdir())
