"""Where images lie in what the network sees: fitted whole, or cut into tiles that keep small lesions."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import UsageError
from medtrain.data.settings import image_form
from medtrain.io.image import content_box, placement
from medtrain.io.image_form import ImageForm
from medtrain.target import DataSpec


def box_form(cfg: Mapping[str, Any], spec: DataSpec | None = None) -> ImageForm:
    """Read the form of whole images in the cache; with data.tile a trained model's `spec` has the size of its tiles."""
    if cfg.get("tile"):
        return image_form(dict(cfg) | ({"channels": spec.channels} if spec is not None else {}))
    return image_form(cfg, spec)


def places(size_N2: NDArray[np.int64], form: ImageForm) -> NDArray[np.float32]:
    """Compute (N, 4) `placement` of images of these sizes, (height, width)."""
    placed = [placement((height, width), form) for height, width in size_N2.tolist()]
    return np.array(placed, np.float32).reshape(-1, 4)


def tile_starts(low: int, high: int, tile: int, overlap: float, limit: int) -> list[int]:
    """Say where tiles begin along one side, evenly spread from `low` to `high` (pixels), and within 0..`limit`.

    Neighbours share `overlap` of their width or more; a part shorter than a tile gets one, in its middle.
    """
    length = high - low
    if length <= tile:
        return [int(np.clip(low - (tile - length) // 2, 0, limit - tile))]
    count = 1 + ceil((length - tile) / (tile * (1 - overlap)))
    return [round(low + offset) for offset in np.linspace(0, length - tile, count).tolist()]


def tile_grid(content: tuple[slice, slice], tile: int, overlap: float, size: tuple[int, int]) -> NDArray[np.int64]:
    """List (T, 2) left and top of the tiles of one image, row by row.

    Args:
        content: rows and columns that are no padding.
        size: (H, W) of the whole, padding included.

    Raises:
        UsageError: tiles larger than that, or an overlap that leaves no step.
    """
    if tile > min(size):
        raise UsageError(f"data.tile={tile} is larger than data.image_size={list(size)}, the size of whole images")
    if not 0 <= overlap < 1:
        raise UsageError(f"data.tile_overlap={overlap} is not in [0, 1)")
    tops, lefts = (
        tile_starts(part.start, part.stop, tile, overlap, limit) for part, limit in zip(content, size, strict=True)
    )
    return np.array([(left, top) for top in tops for left in lefts], np.int64)


def grids(size_N2: NDArray[np.int64], cfg: Mapping[str, Any], form: ImageForm) -> list[NDArray[np.int64]]:
    """Make the `tile_grid` of images of these sizes."""
    tile, overlap = int(cfg["tile"]), float(cfg.get("tile_overlap") or 0)
    return [
        tile_grid(content_box((height, width), form.size, form.fit), tile, overlap, form.size)
        for height, width in size_N2.tolist()
    ]
