"""Regions of a slide as GeoJSON that QuPath opens: polygons, holes and all, in pixels of level 0."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import contourpy
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

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


def cell_polygons(mask_HW: NDArray[np.bool_], scale: float) -> list[Polygon]:
    """Draw the exact outlines, right angles and all, of a mask whose pixels are tiles; each with its holes.

    Args:
        scale: a tile's side.
    """
    pieces, number = label(mask_HW)
    return [_outline(pieces == piece, scale) for piece in range(1, number + 1)]


def _outline(mask_HW: NDArray[np.bool_], scale: float) -> Polygon:
    """Draw one piece: its border goes round it clockwise, edge by edge, with the inside to the right."""
    inside = np.pad(mask_HW, 1)
    after: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, x in np.argwhere(inside).tolist():
        corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)]
        beyond = [inside[y - 1, x], inside[y, x + 1], inside[y + 1, x], inside[y, x - 1]]
        for side in range(4):
            if not beyond[side]:
                after.setdefault(corners[side], []).append(corners[(side + 1) % 4])
    rings: Polygon = []
    while after:
        start = next(iter(after))
        ring, corner = [start], start
        while True:
            corner = after[corner].pop() if len(after[corner]) > 1 else after.pop(corner)[0]
            ring.append(corner)
            if corner == start:
                break
        turns = [n for n in range(len(ring) - 1) if not _straight(ring[n - 1 if n else -2], ring[n], ring[n + 1])]
        points = [[(ring[n][0] - 1) * scale, (ring[n][1] - 1) * scale] for n in turns]
        rings.append([*points, points[0]])
    return sorted(rings, key=_area, reverse=True)


def _straight(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[0] - a[0], b[1] - a[1]) == (c[0] - b[0], c[1] - b[1])


def _area(ring: list[list[float]]) -> float:
    x, y = np.array(ring).T
    return float(abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2)


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
