"""Tiles that score high, put together to lesions: where they lie, how large they are, how sure they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medtrain.io.geojson import Polygon, union_polygons

GAP = 0.01  # of a tile's side: what rounded coordinates may leave between neighbours


@dataclass(frozen=True)
class Region:
    """Connected tiles above the threshold.

    Args:
        tiles: their numbers.
        score: the highest of them; `mean` of them all.
        polygons: what they cover, in the unit of the coordinates; several where tiles touch by a corner alone.
        corner: x and y of the upper left corner of the box around them, in the same unit.
        size: width and height of that box.
        area: in mm2, what several tiles cover counted once; None where nobody knows how large a tile is.
    """

    tiles: NDArray[np.int64]
    score: float
    mean: float
    polygons: list[Polygon]
    corner: tuple[float, float]
    size: tuple[float, float]
    area: float | None


def lesions(
    scores_N: NDArray[np.floating],
    coords_N2: NDArray[np.float64],
    edge: float,
    threshold: float,
    edge_um: float | None = None,
) -> list[Region]:
    """Join tiles that touch or overlap, by a side or a corner, to regions, the highest score first.

    Args:
        scores_N: from 0 to 1.
        coords_N2: x and y of the tiles' upper left corners; on any grid, or several.
        edge: a tile's side in the unit of the coordinates.
        threshold: tiles from it on belong to regions.
        edge_um: a tile's side in um.
    """
    high = np.flatnonzero(scores_N >= threshold)
    if not len(high):
        return []
    whole = float(edge).is_integer() and bool((coords_N2 == np.rint(coords_N2)).all())
    side = edge if whole else edge * (1 + GAP / 2)  # or neighbours whose places were rounded would leave slits
    squares_N4 = np.hstack([coords_N2[high], coords_N2[high] + side])
    piece_N = _connected(squares_N4, edge * GAP)
    regions = []
    for piece in range(int(piece_N.max()) + 1):
        inside = squares_N4[piece_N == piece]
        tiles, polygons = high[piece_N == piece], union_polygons(inside)
        start, stop = inside[:, :2].min(0), inside[:, 2:].max(0)
        covered = sum(_area(polygon) for polygon in polygons) / side**2  # in tiles
        regions.append(
            Region(
                tiles,
                float(scores_N[tiles].max()),
                float(scores_N[tiles].mean()),
                polygons,
                (float(start[0]), float(start[1])),
                (float(stop[0] - start[0]), float(stop[1] - start[1])),
                None if edge_um is None else covered * (edge_um / 1000) ** 2,
            )
        )
    return sorted(regions, key=lambda region: -region.score)


def _connected(squares_N4: NDArray[np.float64], gap: float) -> NDArray[np.int32]:
    """Number squares, (N,), by the piece to which they belong; squares within `gap` of each other are of one."""
    boxes = shapely.box(*squares_N4.T)
    one, other = shapely.STRtree(boxes).query(boxes, "dwithin", gap)
    links = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(boxes), len(boxes)))
    return np.asarray(connected_components(links, directed=False)[1])


def _area(polygon: Polygon) -> float:
    return float(shapely.Polygon(polygon[0], polygon[1:]).area)
