"""The report as files: the same bytes from the same runs, and nothing of a run directory runs."""

import html
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path
from urllib.parse import unquote

import pytest

from rlbench.analysis import page
from rlbench.analysis.cost_tables import all_tables
from rlbench.analysis.findings import find
from rlbench.analysis.formats import to_csv, to_latex, to_markdown
from rlbench.analysis.runs import find_runs
from rlbench.analysis.suite_figures import FIGURES
from rlbench.analysis.tables import Column, Row, Table
from rlbench.cli import main

from .made_runs import HARDWARE, make_cells, make_run

ROOT = Path(__file__).resolve().parents[2]
EVIL = "<img src=x onerror=alert(1)>"


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three algorithms on two tasks, one of them failed once, one population twice."""
    root = tmp_path_factory.mktemp("runs")
    cartpole = {"eggroll": 480.0, "open_es": 470.0, "ppo": 300.0}
    make_cells(root / "a", cartpole)
    make_cells(root / "b", {"eggroll": 900.0, "ppo": 500.0}, env="brax/inverted_pendulum@spring")
    make_cells(root / "b", {"open_es": 850.0}, env="brax/inverted_pendulum@spring", seeds=4)
    make_run(root / "b", "open_es", 4, env="brax/inverted_pendulum@spring", status="diverged",
             curve=[])  # fmt: skip
    path = make_run(root / "c", "eggroll", 0, 480.0, settings={"pop_size": 128}, memory=2**21)
    (path / "render").mkdir()
    (path / "render" / "seed-0000.gif").write_bytes(b"GIF89a")
    return root


@pytest.fixture(scope="module")
def report(runs):
    """The report of all of them."""
    out = runs.parent / f"{runs.name}-report"
    assert main(["report", str(runs), "--out", str(out)]) == 0
    return out


def test_it_is_the_same_bytes_again_and_in_another_order(runs, report, capsys):
    parts = [str(runs / name) for name in "abc"]
    out = report.with_name(report.name + "-parts")
    made = []
    for paths in (parts, parts[::-1]):
        shutil.rmtree(out, ignore_errors=True)
        assert main(["report", *paths, "--out", str(out)]) == 0
        made.append(contents(out))
    assert made[0] == made[1] and len(made[0]) > 40
    before = contents(report)
    assert main(["report", str(runs), "--out", str(report)]) == 0
    assert contents(report) == before


def test_every_figure_is_drawn_in_every_format(report):
    names = {p.stem for p in (report / "figures").glob("*.svg")}
    assert names == set(FIGURES)
    for name in names:
        assert (report / f"figures/{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (report / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")
        xml.etree.ElementTree.parse(report / f"figures/{name}.svg")


def test_the_page_loads_nothing_and_runs_its_own_scripts_alone(report):
    text = (report / "index.html").read_text()
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.search(r"(src|href)=\"?(https?:)?//", outside) and "@import" not in outside
    assert "default-src 'none'" in text and text.count("<script") == 3
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text).group(1)
    allowed = re.findall(r"sha256-([A-Za-z0-9+/=]+)", html.unescape(policy))
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.S)
    assert [page._hash(script) for script in scripts] == allowed


def test_every_link_of_the_page_leads_somewhere(report):
    text = (report / "index.html").read_text()
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    links = [html.unescape(x) for x in re.findall(r'href="([^"]*)"', outside)]
    ids = set(re.findall(r'id="([^"]*)"', outside))
    assert len(links) > 60 and any(link.endswith("render/seed-0000.gif") for link in links)
    # Every cell of the tables leads to runs: of its own entry, or of all.
    cells = re.findall(r"<td[^>]*>(.*?)</td>", outside.partition('id="figures"')[0], flags=re.S)
    assert len(cells) > 200 and all(cell.startswith('<a href="#') for cell in cells)
    for link in links:
        assert link[1:] in ids if link.startswith("#") else (report / unquote(link)).exists()


def test_tables_hold_what_the_runs_scored(report):
    lines = (report / "tables/returns.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    found = {(row["task"], row["algorithm"]): row for row in rows}
    one = found["gymnax/CartPole-v1", "ppo"]
    # The seeds' offsets are -5, 5, 4, 3, 2 (made_runs): their mean is 1.8.
    assert float(one["mean"]) == pytest.approx(301.8) and one["n"] == "5"
    assert found["brax/inverted_pendulum@spring", "open_es"]["failed"] == "1"
    scores = json.loads((report / "scores.json").read_text())
    assert scores["returns"]["ppo"]["gymnax/CartPole-v1"]["0"] == 295.0


def test_names_from_files_are_shown_and_never_run(tmp_path, capsys):
    make_run(tmp_path / "runs", EVIL, 0, 1.0, name="one")
    make_run(tmp_path / "runs", "</script><script>alert(1)</script>", 0, 1.0, name="two",
             status="failed", env="\x1b[2J$\\alpha$|_&%")  # fmt: skip
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "index.html").read_text()
    assert "<img src=x" not in text and text.count("<script") == 3
    assert html.escape(EVIL) in text
    assert "\x1b" not in text + capsys.readouterr().out
    for file in (tmp_path / "out" / "tables").iterdir():
        assert "\x1b" not in file.read_text()


def test_a_spreadsheet_runs_no_cell_and_latex_and_markdown_take_every_sign():
    row = Row({"name": "=HYPERLINK(1)", "value": -1.5})
    column = Column("name", lambda values: "a_b & 5% of $x {y} ~ ^ # | \\ <z> `c`")
    table = Table("t", "T", "a note", (column,), (row,))
    assert to_csv(table) == "name,value\n'=HYPERLINK(1),-1.5\n"
    cell = next(line for line in to_latex(table).splitlines() if line.startswith("{a"))
    assert cell == (
        r"{a\_b \& 5\% of \$x \{y\} \textasciitilde{} \textasciicircum{} \# | "
        r"\textbackslash{} \textless{}z\textgreater{} `c`} \\"
    )
    assert r"a\_b & 5% of $x {y} ~ ^ # \| \\ \<z\> \`c\`" in to_markdown(table)


def test_another_folder_is_not_overwritten_and_an_old_report_is(tmp_path, capsys):
    make_run(tmp_path / "runs")
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    assert main(["report", str(tmp_path / "runs"), "--out", str(out)]) == 2
    assert "holds no report" in capsys.readouterr().err
    assert contents(out) == {"thesis.tex": b"years of work"}
    (out / "thesis.tex").unlink()
    assert main(["report", str(tmp_path / "runs"), "--out", str(out)]) == 0
    (out / "figures" / "old.svg").write_text("of the report before")
    (out / "mine.txt").write_text("a reader's")
    assert main(["report", str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert not (out / "figures" / "old.svg").exists() and (out / "mine.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say which runs"),
        (["{runs}"], "say where to"),
        (["{runs}/missing", "--out", "{out}"], "is not a directory"),
        (["{empty}", "--out", "{out}"], "no run directory"),
        (["{runs}", "--out", "{out}", "--baseline", "egroll"], "did you mean 'eggroll'"),
        (["{runs}", "--out", "{out}", "--target", "cartpole"], "ENV=RETURN"),
        (["{runs}", "--out", "{out}", "--target", "cartpool=3"], "did you mean 'cartpole'"),
        (["{runs}", "--out", "{out}", "--allow-mixed", "network"], "only hardware"),
        (["{runs}", "--outt", "{out}"], "did you mean '--out'"),
    ],
)
def test_mistakes_are_told_in_one_sentence_and_nothing_is_written(
    arguments, told, tmp_path, capsys
):
    make_run(tmp_path / "runs")
    (tmp_path / "empty").mkdir()
    names = {name: str(tmp_path / name) for name in ("runs", "empty", "out")}
    assert main(["report", *(a.format(**names) for a in arguments)]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_note_says_what_is_split_few_lost_or_mixed(tmp_path, capsys):
    make_cells(tmp_path / "runs", {"eggroll": 1.0}, seeds=2)
    make_run(tmp_path / "runs", "eggroll", 2, status="running")
    make_run(tmp_path / "runs", "eggroll", 3, status="failed")
    make_run(tmp_path / "runs", "ppo", budget=2_000)
    (make_run(tmp_path / "runs", "ppo", 7) / "config.json").write_text("?")
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "gymnax/CartPole-v1 is 2 tasks" in told and "differ in budget" in told
    assert "fewer than 5 seeds" in told and "1 run unfinished" in told
    assert "1 run failed or diverged" in told and "unreadable and not counted: 1" in told
    assert told in told and "No two algorithms" in (tmp_path / "out/index.html").read_text()


def test_mixed_hardware_is_marked_wherever_a_time_stands(tmp_path):
    make_cells(tmp_path, {"eggroll": 100.0})
    make_cells(tmp_path, {"ppo": 100.0}, hardware={**HARDWARE, "processor": "Another CPU"})
    findings = find(find_runs([tmp_path]), mix=["hardware"])
    tables = {table.name: to_markdown(table) for table in all_tables(findings)}
    for name in ("costs", "memory"):
        rows = [line for line in tables[name].splitlines() if line.startswith("| gymnax")]
        assert len(rows) == 2 and all(row.count("†") >= 3 for row in rows)
    assert isinstance(FIGURES["wall_clock"](findings), str)
    assert isinstance(FIGURES["return_cost"](findings), str)


def test_no_jax(tmp_path):
    make_run(tmp_path / "runs")
    code = (
        "import sys; from rlbench.cli import main; assert main(sys.argv[1:]) == 0; "
        "assert not {'jax', 'brax', 'gymnax'} & set(sys.modules)"
    )
    words = ["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-c", code, *words], check=True, cwd=ROOT)
