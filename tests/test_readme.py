"""The README shows what is there."""

import tomllib
from pathlib import Path

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
