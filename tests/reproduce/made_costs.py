"""Made measurements, for the rules that judge them."""

from rlbench.analysis import style
from rlbench.analysis.reproduced.claim import Case, Data

NOTHING = Data("small", {}, (), {})


def data(**cases: Case) -> Data:
    return Data("small", cases, (), {})


def verdicts(reproduction, found: Data) -> list[str]:
    return [finding.verdict for finding in reproduction.judge(found)]


def drawn(reproduction, found: Data) -> None:
    """Draws, and checks that every row has the columns of the first."""
    with style.styled():
        figure = reproduction.draw(found)
        figure.canvas.draw()
    rows = reproduction.rows(found)
    assert all(list(row) == list(rows[0]) for row in rows)
    assert figure.axes
