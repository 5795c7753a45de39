"""docs/claims.md is what the recorded reproductions say now."""

import re
from pathlib import Path

from rlbench.analysis.reproduced.table import page
from rlbench.analysis.reproduced.view import find_views

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_of_the_records():
    views, bad = find_views([ROOT / "results" / "recorded"])
    assert views and not bad
    assert all(one.data.scale != "small" for one in views)
    assert (ROOT / "docs" / "claims.md").read_text() == page(views), "run `make claims`"
    figures = {path.stem for path in (ROOT / "docs" / "claims").glob("*.png")}
    assert figures == {one.name for one in views}


def test_what_is_recorded_was_measured_by_a_commit():
    views, _ = find_views([ROOT / "results" / "recorded"])
    for one in views:
        sources = [run.provenance for run in one.data.runs] or [one.record["provenance"]]
        assert all(source["commit"] and not source["dirty"] for source in sources), one.name


def test_the_readme_counts_as_the_page_does():
    counted = re.search(r"\d+ claims: agree .*\d", (ROOT / "docs" / "claims.md").read_text())
    assert counted and counted[0] in " ".join((ROOT / "README.md").read_text().split())
