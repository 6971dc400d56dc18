"""Outlines of masks over a volume: three planes through a point, what is true and what was predicted."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.words import plain_text
from medtrain.explain.picture import sheet
from medtrain.explain.volumes import PLANES, plane

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Mask = NDArray[np.bool_]
COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00")  # Okabe & Ito, light enough for grey
TRUE, PREDICTED = "dashed", "solid"
NAMED, COLUMNS = 24, 6  # classes that are named below a picture, and how many of them side by side


@dataclass(frozen=True)
class Outline:
    """A class of a case: its name, what was predicted, and what is true, None where nobody knows; (D, H, W) each."""

    name: str
    predicted_DHW: Mask
    true_DHW: Mask | None = None

    @property
    def marked(self) -> bool:
        """Tell whether either marks anything."""
        return bool(self.predicted_DHW.any() or (self.true_DHW is not None and self.true_DHW.any()))


def contours_in_planes(
    shown_DHW: NDArray[Any], outlines: Sequence[Outline], spacing: Sequence[float], title: str
) -> Figure:
    """Draw axial, coronal and sagittal plane through what is marked most, with outlines, as radiologists look.

    Args:
        shown_DHW: grey levels from 0 to 1; indices grow to head, front and right.
        outlines: a class each, in a colour of its own; the true one dashed.
        spacing: mm along D, H, W.
        title: above them.
    """
    point, colours = fullest(outlines, shown_DHW.shape), colours_of(len(outlines))
    figure = sheet((11.6, 4.6), title)
    axes = figure.subplots(1, 3)
    for axis, (name, left, right) in enumerate(PLANES):
        rows, columns = [n for n in range(3) if n != axis]
        film = plane(shown_DHW, axis, point[axis])
        axes[axis].imshow(film, cmap="gray", vmin=0, vmax=1, aspect=spacing[rows] / spacing[columns])
        for colour, outline in zip(colours, outlines, strict=True):
            for mask, style in ((outline.true_DHW, TRUE), (outline.predicted_DHW, PREDICTED)):
                cut = None if mask is None else plane(mask, axis, point[axis])
                if cut is not None and cut.any():
                    padded = np.pad(cut.astype(float), 1)  # what reaches the border is closed there
                    x, y = np.arange(-1, cut.shape[1] + 1), np.arange(-1, cut.shape[0] + 1)
                    axes[axis].contour(x, y, padded, [0.5], colors=[colour], linestyles=[style], linewidths=1.2)
        axes[axis].set_axis_off()
        axes[axis].set_title(f"{left}   {name}   {right}", fontsize=9)
    _name_colours(figure, outlines)
    return figure


def colours_of(number: int) -> list[str]:
    """Choose so many colours: those that the colour-blind tell apart, or hues all around, light enough for grey."""
    if number <= len(COLOURS):
        return list(COLOURS[:number])
    hues = [colorsys.hsv_to_rgb(n / number, 0.65, (1.0, 0.8)[n % 2]) for n in range(number)]
    return ["#" + "".join(f"{round(255 * share):02x}" for share in hue) for hue in hues]


def _name_colours(figure: Figure, outlines: Sequence[Outline]) -> None:
    """Write below the planes which colour is whose, of what is marked in the case, and which line is true."""
    from matplotlib.lines import Line2D

    colours = zip(colours_of(len(outlines)), outlines, strict=True)
    marked = [(colour, outline) for colour, outline in colours if outline.marked]
    handles = [Line2D([], [], color=colour, label=plain_text(outline.name)) for colour, outline in marked[:NAMED]]
    more = f" ({len(marked) - NAMED:,} more classes are drawn, not named)" * (len(marked) > NAMED)
    known = any(outline.true_DHW is not None for outline in outlines)
    legend = figure.legend(
        handles=handles,
        title="solid: predicted" + "; dashed: true" * known + more + "; nothing is marked" * (not marked),
        loc="outside lower left",
        ncols=COLUMNS,
        fontsize=8,
        title_fontsize=8,
        alignment="left",
        labelcolor="linecolor",
        frameon=False,
    )
    legend.get_title().set_color("#555555")


def fullest(outlines: Sequence[Outline], shape: Sequence[int]) -> tuple[int, int, int]:
    """Find the planes that hold most of what is marked, true or predicted; the middle where nothing is."""
    masks = [mask for outline in outlines for mask in (outline.predicted_DHW, outline.true_DHW) if mask is not None]
    point = []
    for axis, length in enumerate(shape):
        others = tuple(other for other in range(3) if other != axis)
        counts = np.sum([mask.sum(others) for mask in masks], axis=0)
        point.append(int(np.argmax(counts)) if np.any(counts) else length // 2)
    z, y, x = point
    return z, y, x
