"""Where the tiles of a bag lie, for networks that look at neighbours: in sides of a tile, whatever the file's unit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.csv_bags import CsvBags
from medtrain.io.store.features import PackedBags

APART = 64
"""Tiles between two slides of one bag."""


class TilePlaces:
    """Give the coordinates of cases, which may have several bags; see `laid_out`.

    Args:
        bags: whose coordinates and geometry place the tiles.
    """

    def __init__(self, bags: PackedBags | CsvBags) -> None:
        self.bags = bags

    def __call__(self, members: Sequence[int]) -> NDArray[np.float32]:
        """Give (N, 2) of all tiles of a case."""
        bags = self.bags
        return laid_out(
            (
                int(bags.lengths[bag]),
                *((bags.coords(bag), bags.geometry(bag)["tile"]) if bags.placed(bag) else (None, 0)),
            )
            for bag in members
        )


def laid_out(bags: Iterable[tuple[int, NDArray[Any] | None, float]]) -> NDArray[np.float32]:
    """Give (N, 2) of the tiles of a case's bags, x and y of their upper left corners in sides of a tile.

    They start at 0; each slide lies to the right of the one before, `APART` from it. NaN where nobody knows.

    Args:
        bags: of each how many tiles it has, their coordinates, None where nobody knows, and the side of a tile.
    """
    parts, left = [], 0.0
    for length, coords_N2, tile in bags:
        if coords_N2 is None:
            parts.append(np.full((length, 2), np.nan))
            continue
        part = (coords_N2 - coords_N2.min(0)) / float(tile) + [left, 0.0]
        left = float(part[:, 0].max()) + APART
        parts.append(part)
    return np.concatenate(parts).astype(np.float32)
