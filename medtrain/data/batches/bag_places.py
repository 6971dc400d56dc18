"""Where the tiles of a bag lie, for networks that look at neighbours: in sides of a tile, whatever the file's unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medtrain.io.csv_bags import CsvBags
from medtrain.io.store.features import PackedBags

APART = 64
"""Tiles between two slides of one bag."""


class TilePlaces:
    """Give the coordinates of cases, which may have several bags.

    Args:
        bags: whose coordinates and geometry place the tiles.
    """

    def __init__(self, bags: PackedBags | CsvBags) -> None:
        self.bags = bags

    def __call__(self, members: Sequence[int]) -> NDArray[np.float32]:
        """Give (N, 2) of all tiles of a case, x and y of their upper left corners in sides of a tile.

        They start at 0; each slide lies to the right of the one before, `APART` from it. NaN where nobody knows.
        """
        parts, left = [], 0.0
        for bag in members:
            coords_N2 = self.bags.coords(bag) if self.bags.placed(bag) else None
            if coords_N2 is None:
                parts.append(np.full((int(self.bags.lengths[bag]), 2), np.nan))
                continue
            part = (coords_N2 - coords_N2.min(0)) / float(self.bags.geometry(bag)["tile"]) + [left, 0.0]
            left = float(part[:, 0].max()) + APART
            parts.append(part)
        return np.concatenate(parts).astype(np.float32)
