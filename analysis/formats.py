"""Tables as CSV, Markdown and LaTeX. What comes from files is data, and escaped."""

import csv
import io
import re
from typing import Any

from rlbench.analysis.tables import Table
from rlbench.display import printable

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run a text cell that begins so (OWASP, "CSV Injection")."""
LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "†": r"\dag{}",
}


def cell(value: Any) -> Any:
    """A value for a CSV file: nothing that a spreadsheet would run."""
    if isinstance(value, str):
        value = printable(value)
        return f"'{value}" if value.startswith(FORMULA) else value
    return "" if value is None else value


def to_csv(table: Table) -> str:
    """Every value with all its digits, one row a line."""
    out = io.StringIO()
    names = list(table.rows[0].values)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in table.rows:
        writer.writerow([cell(row.values[name]) for name in names])
    return out.getvalue()


def texts(table: Table) -> list[list[str]]:
    """The cells as people see them, row by row."""
    return [[printable(c.text(row.values)) for c in table.columns] for row in table.rows]


def _numeric(table: Table) -> list[bool]:
    return [bool(column.key) for column in table.columns]


def to_markdown(table: Table) -> str:
    """A pipe table below its title, with its note."""

    def escape(text: str) -> str:
        return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)

    rule = ["---:" if numeric else "---" for numeric in _numeric(table)]
    rows = [[c.title for c in table.columns], rule]
    rows[0] = [escape(cell) for cell in rows[0]]
    rows += [[escape(cell) for cell in row] for row in texts(table)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return f"# {escape(table.title)}\n\n" + "\n".join(lines) + f"\n\n{escape(table.note)}\n"


def to_latex(table: Table) -> str:
    """A `tabular` for booktabs."""

    def escape(text: str) -> str:
        return "".join(LATEX.get(letter, letter) for letter in text)

    def line(cells: list[str]) -> str:
        # A row that begins with [ would be read as the line break's argument.
        return " & ".join("{" + escape(cell) + "}" for cell in cells) + r" \\"

    columns = "".join("r" if numeric else "l" for numeric in _numeric(table))
    body = [line([c.title for c in table.columns]), r"\midrule", *map(line, texts(table))]
    return "\n".join(
        [
            f"% {escape(table.title)}. {escape(table.note)}",
            r"% needs \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


FORMATS = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
FIGURE_FORMATS = ("svg", "pdf", "png")
