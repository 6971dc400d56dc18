"""Tiles themselves as bags, for networks that learn from pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medtrain.data.slide.bagged import mask_note, written
from medtrain.data.slide.tiles import Tiling, survey
from medtrain.data.slide.tissue import why_none
from medtrain.io.bags import Bag

BAD_TILES = 0.05  # a slide of which more cannot be decoded is no slide


def read_tiles(path: Path, tiling: Tiling) -> Bag:
    """Read all tissue tiles of a slide, (N, 3, px, px) uint8.

    Raises:
        ValueError: with a short reason: no slide, no tissue, or too many tiles that cannot be decoded.
    """
    surveyed = survey(str(path), tiling)
    if not len(surveyed.coords):
        raise ValueError(why_none(surveyed.tissue, tiling.min_tissue))
    x_NCHW = np.empty((len(surveyed.coords), 3, surveyed.view.px, surveyed.view.px), np.uint8)
    readable: list[int] = []
    reason = ""
    try:
        for number, (x, y) in enumerate(surveyed.coords.tolist()):
            try:
                x_NCHW[len(readable)] = np.moveaxis(surveyed.slide.tile(surveyed.view, x, y), -1, 0)
                readable.append(number)
            except ValueError as error:
                reason = str(error)
    finally:
        surveyed.slide.close()
    bad = len(surveyed.coords) - len(readable)
    if bad > BAD_TILES * len(surveyed.coords):
        raise ValueError(f"{bad} of {len(surveyed.coords)} tiles cannot be read: {reason}")
    width, height = surveyed.slide.sizes[0]
    geometry: dict[str, Any] = {
        "unit": "px",
        "tile": float(surveyed.view.edge),
        "width": float(width),
        "height": float(height),
        "mpp": float(surveyed.slide.mpp),
        "left_out": written(surveyed.tissue.removed),
        "unsure": written(surveyed.tissue.doubts),
        "mask": mask_note(tiling.mask, surveyed.tissue.note),
        "scale": surveyed.slide.contradicts,
        "bad_tiles": bad,
    }
    return Bag(x_NCHW[: len(readable)], surveyed.coords[readable].astype(np.float64), geometry)
