"""Tiles themselves as bags, for networks that learn from pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medtrain.data.slide.tiles import Tiling, survey
from medtrain.io.bags import Bag

BAD_TILES = 0.05  # a slide of which more cannot be decoded is no slide


def read_tiles(path: Path, tiling: Tiling) -> Bag:
    """All tissue tiles of a slide, (N, 3, px, px) uint8.

    Raises:
        ValueError: with a short reason: no slide, no tissue, or too many tiles that cannot be decoded.
    """
    found = survey(str(path), tiling)
    if not len(found.coords):
        raise ValueError("no tissue was found on it; data.tissue_threshold=0.03 is less strict")
    x_NCHW = np.empty((len(found.coords), 3, found.view.px, found.view.px), np.uint8)
    kept: list[int] = []
    reason = ""
    try:
        for number, (x, y) in enumerate(found.coords.tolist()):
            try:
                x_NCHW[len(kept)] = np.moveaxis(found.slide.tile(found.view, x, y), -1, 0)
                kept.append(number)
            except ValueError as error:
                reason = str(error)
    finally:
        found.slide.close()
    bad = len(found.coords) - len(kept)
    if bad > BAD_TILES * len(found.coords):
        raise ValueError(f"{bad} of {len(found.coords)} tiles cannot be read: {reason}")
    width, height = found.slide.sizes[0]
    geometry = {"unit": "px", "tile": float(found.view.edge), "width": float(width), "height": float(height)}
    geometry["mpp"] = float(found.slide.mpp)
    return Bag(x_NCHW[: len(kept)], found.coords[kept].astype(np.float64), geometry)
