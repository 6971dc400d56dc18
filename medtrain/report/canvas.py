"""The canvas that all figures share: size, colours, axes and how names are written.

Figures are drawn without pyplot: no global state, no display, nothing to close. matplotlib is imported with the first
figure only, so that printing a table doesn't wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medtrain.core.words import plain_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#666666")  # Okabe & Ito
DRAWN = 16  # curves in one figure; more can't be told apart
BANDS = 3  # curves up to which their intervals can be told apart
FAINT = "#999999"
DPI = 150


def new_figure(height: float = 4.2) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def new_axes(height: float = 4.2) -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes."""
    figure = new_figure(height)
    return figure, figure.add_subplot()


def write_png(figure: Figure, file: Path) -> None:
    """Write a figure, laid out here and drawn once: `savefig` draws all of it twice more to find the layout."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DPI)  # which sizes of letters follow from
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    FigureCanvasAgg(figure).print_png(file)


def dot(axes: Axes, x: float, y: float, i: int) -> None:
    """Mark on a curve where the decision is."""
    axes.plot(x, y, "o", color=colour(i), markersize=6, markeredgecolor="white")


def colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def style(i: int) -> str:
    """Choose a line style, which tells apart what shares a colour."""
    return "-" if i < len(COLOURS) else "--"


def tidy(axes: Axes, x: str, y: str, unit: bool = False) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    if unit:
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)


def diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle="--")


def legend(figure: Figure, axes: Axes, drawn: int, title: str) -> None:
    """Place the legend inside the axes where there is room, else below them."""
    if drawn <= 5:
        axes.legend(frameon=False, fontsize=8, title=title, title_fontsize=8)
    else:
        figure.set_figheight(4.2 + 0.18 * (drawn + 1) // 2)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=7, title=title, title_fontsize=8)


def name_ticks(axes: Axes, columns: list[str], rows: list[str], crowded: bool) -> None:
    size = 8 if max(len(columns), len(rows)) <= 20 else 5
    turned = 40 if crowded else 0
    axes.set_xticks(range(len(columns)), [legible(c) for c in columns], fontsize=size, rotation=turned)
    if crowded:
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")
    axes.set_yticks(range(len(rows)), [legible(c) for c in rows], fontsize=size)


def legible(name: str) -> str:
    """Write a name so that matplotlib shows it: no mathematics from a $, not hidden by a leading _, not endless."""
    short = name if len(name) <= 26 else name[:25] + "…"
    return (" " if short.startswith("_") else "") + plain_text(short)
