"""The README shows what is there."""

import json
import tomllib
from pathlib import Path

from rlbench.analysis.claims import in_words
from rlbench.analysis.findings import find
from rlbench.analysis.formats import to_markdown
from rlbench.analysis.runs import find_runs
from rlbench.analysis.tables import returns
from rlbench.sweep.cells import expand
from rlbench.sweep.command import find_file
from rlbench.sweep.plan import make_jobs, resolve
from rlbench.sweep.resolver import Resolver
from tests.faults.__main__ import table
from tests.faults.common import Tally

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PLUGIN = ROOT / "examples" / "plugin"


def block(language, start):
    """The README's code block that begins so."""
    blocks = README.split(f"```{language}\n")[1:]
    (found,) = [b.partition("```")[0] for b in blocks if b.startswith(start)]
    return found


def test_the_baseline_it_shows_is_the_example_s_file():
    file = PLUGIN / "src" / "rlbench_example" / "one_plus_one_es.py"
    assert block("python", '"""(1+1)-ES') == file.read_text()


def test_the_packaging_it_shows_is_the_example_s():
    shown = tomllib.loads(block("toml", "[build-system]"))
    whole = tomllib.loads((PLUGIN / "pyproject.toml").read_text())
    assert shown == {k: v for k, v in whole.items() if k != "tool"}


def test_the_report_it_shows_is_of_the_recorded_runs():
    findings = find(find_runs([ROOT / "results" / "recorded" / "short"]))
    for pair in findings.pairs:
        assert f"    {in_words(pair)}\n" in README
    assert to_markdown(returns(findings)).split("\n\n")[1] in README


def test_the_sweep_it_names_has_the_recorded_runs():
    sweep = expand(find_file("short"))
    with Resolver() as ask:
        jobs = make_jobs(sweep, resolve(sweep, ask))
    recorded = ROOT / "results" / "recorded" / "short"
    assert {job.path for job in jobs} == {
        path.parent.relative_to(recorded).as_posix() for path in recorded.glob("*/*/*/config.json")
    }


def test_what_it_says_was_tried_to_lose_something_is_recorded():
    (record,) = (ROOT / "results" / "recorded" / "faults").glob("*/faults.json")
    whole = json.loads(record.read_text())
    tallies = [Tally(**fault) for fault in whole["faults"]]
    lost = sum(len(t.lost) for t in tallies) or "none"
    minutes = sum(t.seconds for t in tallies) / 60
    words = " ".join(README.split())
    assert table(tallies) in README
    assert f"{sum(t.tried for t in tallies):,} faults, {lost} lost" in words
    assert f"seed {whole['seed']}, {minutes:.0f} minutes" in words
    assert f"{record.parent.name}, commit" in words
