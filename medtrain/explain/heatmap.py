"""A heatmap on a slide: tiles painted at their true place and size, coloured by rank so that 1/N is seen too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import NDArray

from medtrain.explain.picture import colour_bar, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPACITY = 0.55
BLUE, RED = (59, 76, 192), (203, 52, 44)


def ranks(values_N: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rank N values from 0 to 1, the highest; values of both signs from -1 to 1, by size within each sign.

    Attention of 20,000 tiles is a few large values and very many of about 1/N: ranks show both.
    """
    ranked = np.zeros(len(values_N))
    for sign in (1, -1):
        of_sign = values_N * sign > 0
        ranked[of_sign] = sign * scipy.stats.rankdata(np.abs(values_N[of_sign])) / max(int(of_sign.sum()), 1)
    return ranked


def painted(
    values_N: NDArray[np.floating], corners_N2: NDArray[np.floating], edge: float, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Paint a map (H, W) with each tile's value over the pixels that it covers, NaN where there is no tile.

    Where tiles overlap, a pixel has the mean of those that cover it.

    Args:
        corners_N2: x and y of the tiles' upper left corners, in the map's pixels.
        edge: of a tile, in the same; of one that is smaller than a pixel, that pixel is its.
        shape: (H, W).
    """
    total, count = np.zeros(shape), np.zeros(shape)
    start = np.floor(corners_N2 + 0.5).astype(int)
    stop = np.maximum(np.floor(corners_N2 + edge + 0.5).astype(int), start + 1)
    for value, (left, top), (right, bottom) in zip(values_N, start.tolist(), stop.tolist(), strict=True):
        covered = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
        total[covered] += value
        count[covered] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def slide_overlay(
    thumbnail_HWC: NDArray[np.uint8], heat_HW: NDArray[np.float32], title: str, scale: str, signed: bool = False
) -> Figure:
    """Draw the slide, and the slide under its heatmap with a colour bar.

    Args:
        heat_HW: from `painted`, of `ranks`.
        scale: what the colours mean.
        signed: from -1 to 1 rather than from 0.
    """
    height, width = thumbnail_HWC.shape[:2]
    figure = sheet((12.6, 6.0 * min(1.6, max(0.4, height / width)) + 0.6), title, dpi=120)
    left, right = figure.subplots(1, 2)
    options: dict[str, Any] = {"cmap": "coolwarm" if signed else "turbo", "vmin": -1 if signed else 0, "vmax": 1}
    left.imshow(thumbnail_HWC)
    right.imshow(thumbnail_HWC)
    drawn = right.imshow(np.ma.masked_invalid(heat_HW), alpha=OPACITY, interpolation="nearest", **options)
    for axes in (left, right):
        axes.set_axis_off()
    colour_bar(figure, drawn, right, scale)
    return figure


def between(share: float) -> list[int]:
    """Choose a colour from blue (0, or -1 of signed values) to red (1), as QuPath takes it."""
    position = min(max((share + 1) / 2 if share < 0 else share, 0.0), 1.0)
    return [round(low + position * (high - low)) for low, high in zip(BLUE, RED, strict=True)]
