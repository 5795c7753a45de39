"""How figures look: one colour, marker and line an entry, everywhere. Imports no jax."""

import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

COLUMN = 3.4
"""Width of a column of a paper, in inches."""
PAGE = 7.0
PANEL_HEIGHT = 1.75
ROW = 0.16
"""Height of a line of small text, in inches."""
NOTE_LETTERS = 17
"""Of a note, to an inch."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
LINES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (4, 1.5, 1, 1.5)), (0, (7, 2, 2, 2)))
HATCHES = ("", "///", "...", "\\\\\\", "xxx")
SETTINGS: dict[str, Any] = {
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.titlesize": 8,
    "axes.titlepad": 4,
    "figure.dpi": 100,
    "font.size": 8,
    "grid.linewidth": 0.4,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.6,
    "pdf.fonttype": 42,  # letters stay letters
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "rlbench",  # ids that do not change from one drawing to the next
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.formatter.useoffset": False,
}

METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {},
}
"""By format of a figure: what keeps its bytes from depending on the day."""


def images(figure: Figure, kinds: Iterable[str] = METADATA) -> dict[str, bytes]:
    """The figure in every format, the same bytes for the same figure."""
    found = {}
    for kind in kinds:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=METADATA[kind])
        found[kind] = buffer.getvalue()
    return found


def plain(text: str) -> str:
    """A label as it is: nothing in it is mathematics to be set."""
    return text.replace("$", r"\$")


def logarithmic(axis: Any) -> None:
    """Plain numbers, as many as there is room for, on a log axis."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    subs = (
        (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        if decades < 0.8
        else (1.0, 2.0, 5.0)[: 3 if decades < 2 else 1]
    )
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=6))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


@dataclass(frozen=True)
class Look:
    """How an entry is drawn: its colour as #rrggbb, matplotlib's marker, line style and hatch."""

    colour: str
    marker: str
    line: Any
    hatch: str


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """The look of every label; beyond ten, a colour comes again with another marker and line."""
    palette = seaborn.color_palette("colorblind").as_hex()
    return {
        label: Look(
            palette[i % len(palette)],
            MARKERS[(i + i // len(palette)) % len(MARKERS)],
            LINES[(i + i // len(palette)) % len(LINES)],
            HATCHES[(i + i // len(palette)) % len(HATCHES)],
        )
        for i, label in enumerate(labels)
    }


@contextmanager
def styled() -> Iterator[None]:
    """Within it, figures are made with our settings, and none of the reader's own."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box, and the tables have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(seaborn.axes_style("whitegrid"))
        matplotlib.rcParams.update(cast(Any, SETTINGS))
        yield


def panels(count: int, height: float = PANEL_HEIGHT, wide: int = 3) -> tuple[Figure, list[Any]]:
    """A figure of `count` axes in rows of at most `wide`, and the axes.

    There is room for the legend that `legend` adds below.
    """
    columns = min(count, wide)
    rows = -(-count // columns)
    figure = Figure(figsize=(COLUMN if columns == 1 else PAGE, rows * height + 0.3))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def finish(figure: Figure, axes: Sequence[Any], labels: Sequence[str], note: str = "") -> Figure:
    """Puts one legend below all panels, and a note below it, and fits the panels above them."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    shown = [label for label in labels if label in handles]
    width, height = figure.get_size_inches()
    note = textwrap.fill(note, int(width * NOTE_LETTERS))
    longest = max((len(label) for label in shown), default=1)
    columns = max(1, min(len(shown), int(width / (0.45 + 0.062 * longest))))
    lines = -(-len(shown) // columns) if shown else 0
    below = lines * ROW * 1.15 + (ROW * (1 + note.count("\n")) if note else 0) + 0.04
    figure.set_size_inches(width, height + below)
    share = below / (height + below)
    if shown:
        figure.legend(
            [handles[label] for label in shown],
            [plain(label) for label in shown],
            loc="lower center",
            bbox_to_anchor=(0.5, (ROW * (1 + note.count("\n")) if note else 0) / (height + below)),
            ncols=columns,
            borderaxespad=0.2,
            columnspacing=1.2,
            handlelength=2.6,
        )
    if note:
        figure.text(0.5, 0.02 / height, note, ha="center", va="bottom", size=6.5, color="0.35")
    figure.tight_layout(rect=(0, share, 1, 1), pad=0.4, w_pad=0.8, h_pad=0.9)
    return figure
