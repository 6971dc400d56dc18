"""Tiles that score high, put together to lesions: where they lie, how large they are, how sure they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label


@dataclass(frozen=True)
class Region:
    """Connected tiles above the threshold.

    Args:
        tiles: their numbers.
        score: the highest of them; `mean` of them all.
        mask: (rows, columns) of the grid around it.
        corner: x and y of the mask's upper left corner, in the unit of the coordinates.
        area: in mm2; None where nobody knows how large a tile is.
    """

    tiles: NDArray[np.int64]
    score: float
    mean: float
    mask: NDArray[np.bool_]
    corner: tuple[float, float]
    area: float | None


def lesions(
    scores_N: NDArray[np.floating],
    coords_N2: NDArray[np.float64],
    edge: float,
    threshold: float,
    edge_um: float | None = None,
) -> list[Region]:
    """Join tiles that touch, by a side or a corner, to regions, the highest score first.

    Args:
        scores_N: from 0 to 1.
        coords_N2: x and y of the tiles' upper left corners, on a grid of step `edge`.
        edge: a tile's side in the unit of the coordinates.
        threshold: tiles from it on belong to regions.
        edge_um: a tile's side in um.
    """
    start = coords_N2.min(0)
    column, row = np.rint((coords_N2 - start) / edge).astype(np.int64).T
    grid = np.full((int(row.max()) + 1, int(column.max()) + 1), -1, np.int64)
    grid[row, column] = np.arange(len(scores_N))
    high = np.zeros(grid.shape, bool)
    high[row, column] = scores_N >= threshold
    pieces, number = label(high, np.ones((3, 3)))
    regions = []
    for piece in range(1, number + 1):
        rows, columns = np.nonzero(pieces == piece)
        tiles = grid[rows, columns]
        top, left = int(rows.min()), int(columns.min())
        mask = (pieces == piece)[top : int(rows.max()) + 1, left : int(columns.max()) + 1]
        corner = (float(start[0] + left * edge), float(start[1] + top * edge))
        area = None if edge_um is None else len(tiles) * (edge_um / 1000) ** 2
        regions.append(Region(tiles, float(scores_N[tiles].max()), float(scores_N[tiles].mean()), mask, corner, area))
    return sorted(regions, key=lambda region: -region.score)
