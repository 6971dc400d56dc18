"""A map as a picture: the film beside itself under the heat, with a scale and what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from medtrain.core.words import plain_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Map = NDArray[Any]  # (h, w), not negative
STRONGEST = 0.65  # opacity of the heat at its maximum: the film stays visible below


def overlay(film_CHW: NDArray[Any], heat: Map, title: str, scale: str, note: str = "") -> Figure:
    """Draw the film, and the film under the heat.

    Args:
        film_CHW: uint8 or uint16, of 1 or 3 channels.
        heat: a map of the whole film, at any resolution; drawn relative to its maximum.
        title: above both.
        scale: what the colours mean.
        note: a line below, in small print.
    """
    film = np.moveaxis(film_CHW, 0, -1).astype(np.float32) / np.iinfo(film_CHW.dtype).max
    film = np.repeat(film, 3, axis=2) if film.shape[2] == 1 else film
    relative = _enlarged(heat / max(float(heat.max()), 1e-12), film.shape[:2])
    figure = sheet((11.6, 5.9 * min(1.6, max(0.6, film.shape[0] / film.shape[1])) + 0.3), title)
    left, right = figure.subplots(1, 2)
    left.imshow(film)
    right.imshow(film)
    painted = right.imshow(relative, cmap="inferno", vmin=0, vmax=1, alpha=STRONGEST * relative)
    painted.set_clim(0, 1)
    for axes in (left, right):
        axes.set_axis_off()
    colour_bar(figure, painted, right, scale)
    if note:
        figure.text(0.01, 0.005, plain_text(note), fontsize=8, color="#555555")
    return figure


def sheet(size: tuple[float, float], title: str, dpi: int = 100) -> Figure:
    """Make an empty figure of a size in inches under its title; no window, no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(plain_text(title), fontsize=11)
    return figure


def colour_bar(figure: Figure, painted: Any, axes: Any, scale: str) -> None:
    """Draw beside `axes` what the colours of a painted map mean, opaque even where the map is not."""
    bar = figure.colorbar(painted, ax=axes, shrink=0.8, pad=0.02)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    bar.set_label(scale, fontsize=9)


def peak(heat: Map, block: Sequence[int] = ()) -> tuple[float, ...] | None:
    """Find where the map is highest along each of its axes, from 0 to 1, the middle of its cell; None if it is flat.

    Args:
        block: elements along each axis that make one cell; one each by default.
    """
    if np.ptp(heat) == 0:
        return None
    highest = np.unravel_index(int(heat.argmax()), heat.shape)
    middles = []
    for index, n, step in zip(highest, heat.shape, block or (1,) * heat.ndim, strict=True):
        first = int(index) // step * step
        middles.append((first + min(first + step, n)) / 2 / n)
    return tuple(middles)


def cell(heat: Map, block: Sequence[int] = ()) -> tuple[float, ...]:
    """Give the size of a map's cells as shares of each axis; `block` as of `peak`."""
    return tuple(step / n for n, step in zip(heat.shape, block or (1,) * heat.ndim, strict=True))


def half_area(heat: Map) -> float | None:
    """Measure the smallest share of the area (or volume) with half of the map's sum: small is focused, 0.5 flat."""
    if heat.max() <= 0:
        return None
    falling = np.cumsum(np.sort(heat.ravel())[::-1].astype(np.float64))
    return float((np.searchsorted(falling, falling[-1] / 2) + 1) / heat.size)


def _enlarged(heat: Map, shape: tuple[int, ...]) -> Map:
    enlarged = F.interpolate(torch.from_numpy(heat)[None, None].float(), size=shape, mode="bilinear")
    return enlarged[0, 0].numpy()
