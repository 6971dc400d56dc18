"""A region of a slide put together from stored tiles or strips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Region = tuple[int, int, int, int]  # x, y, width, height


def pasted(
    region: Region, size: tuple[int, int], tile: tuple[int, int], stored: Callable[[int, int], NDArray[Any] | None]
) -> Pixels:
    """Paste what is stored into a region, (height, width, 3); what lies outside of the level is white.

    Args:
        size: (width, height) of the level.
        tile: (height, width) of what is stored.
        stored: gives the tile of a row and a column; None of one that was left out, which is white.
    """
    (x, y, width, height), (tall, wide) = region, tile
    out = np.full((height, width, 3), 255, np.uint8)
    right, bottom = (min(a, b) for a, b in zip((x + width, y + height), size, strict=True))
    for row in range(max(y, 0) // tall, -(-bottom // tall)):
        for column in range(max(x, 0) // wide, -(-right // wide)):
            top, left = row * tall, column * wide
            y0, y1, x0, x1 = max(y, top), min(bottom, top + tall), max(x, left), min(right, left + wide)
            part = stored(row, column)
            if part is not None:
                out[y0 - y : y1 - y, x0 - x : x1 - x] = part[y0 - top : y1 - top, x0 - left : x1 - left]
    return out
