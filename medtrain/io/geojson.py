"""Regions of a slide as GeoJSON that QuPath opens: polygons, holes and all, in pixels of level 0."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import contourpy
import numpy as np
import shapely
from numpy.typing import NDArray

from medtrain.io.files import write_text

Polygon = list[list[list[float]]]  # rings of points: the outline, then holes


def mask_polygons(mask_HW: NDArray[np.bool_], scale: float) -> list[Polygon]:
    """Draw the outlines of a mask's pieces, each with its holes.

    Args:
        scale: pixels of level 0 a side that a pixel of the mask covers.
    """
    if not mask_HW.any():
        return []
    padded = np.pad(mask_HW.astype(np.float32), 1)
    lines = contourpy.contour_generator(z=padded, fill_type="OuterOffset").filled(0.5, np.inf)
    polygons: list[Polygon] = []
    for points, offsets in zip(*lines, strict=True):
        # pixel (0, 0) of the mask is (1, 1) of the padded one, and its middle is half a pixel from its corner
        rings = np.split((np.asarray(points, np.float64) - 0.5) * scale, np.asarray(offsets)[1:-1])
        polygons.append([np.round(ring, 1).tolist() for ring in rings])
    return polygons


def union_polygons(squares_N4: NDArray[np.float64]) -> list[Polygon]:
    """Draw the exact outline of what rectangles cover together; each piece with its holes, which may touch at corners.

    Args:
        squares_N4: left, top, right, bottom of each; they may overlap.
    """
    together = shapely.union_all(shapely.box(*squares_N4.T))
    pieces = [shapely.orient_polygons(shapely.remove_repeated_points(piece.simplify(0))) for piece in _pieces(together)]
    return [
        [[[float(x), float(y)] for x, y in ring.coords] for ring in (piece.exterior, *piece.interiors)]
        for piece in pieces
    ]


def _pieces(shape: Any) -> list[Any]:
    """List the polygons of a shape, the largest first."""
    return sorted(shapely.get_parts(shape), key=lambda piece: -piece.area)


def feature(
    polygon: Polygon,
    name: str,
    colour: Sequence[int] = (200, 60, 60),
    kind: str = "annotation",
    measures: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Describe one object as QuPath has it.

    Args:
        polygon: from `mask_polygons`.
        name: of its class.
        colour: red, green, blue.
        kind: annotation, detection or tile.
        measures: what QuPath lists among its measurements.
    """
    properties: dict[str, Any] = {
        "objectType": kind,
        "classification": {"name": name, "color": [int(c) for c in colour]},
    }
    if measures:
        properties["measurements"] = {key: float(value) for key, value in measures.items()}
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": polygon},
        "properties": properties,
    }


def write_geojson(path: str | os.PathLike[str], features: Sequence[dict[str, Any]]) -> None:
    """Write annotations as one FeatureCollection, atomically."""
    write_text(path, json.dumps({"type": "FeatureCollection", "features": list(features)}) + "\n")
