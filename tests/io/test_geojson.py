"""Outlines for QuPath: areas by the shoelace formula are those of the mask."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from medtrain.io.geojson import feature, mask_polygons, write_geojson


def area(ring: list[list[float]]) -> float:
    x, y = np.array(ring).T
    return float(abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2)


def test_outlines_lie_where_the_mask_is() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    mask[15:25, 30:40] = False
    mask[0:5, 0:5] = True
    polygons = mask_polygons(mask, 16.0)
    assert sorted(len(polygon) for polygon in polygons) == [1, 2]
    large = max(polygons, key=len)
    outer, hole = (np.array(ring) for ring in large)
    # edges run half a pixel within and without the outermost pixels' middles: along the pixels' borders
    assert outer.min(0).tolist() == [320, 160] and outer.max(0).tolist() == [800, 480]
    assert hole.min(0).tolist() == [480, 240] and hole.max(0).tolist() == [640, 400]
    corners = 4 * 0.125 * 16**2  # contours cut corners
    assert area(large[0]) == 600 * 256 - corners
    assert area(large[1]) == 100 * 256 - corners
    assert mask_polygons(np.zeros((4, 4), bool), 1.0) == []


def test_a_file_that_qupath_reads(tmp_path: Path) -> None:
    rings = mask_polygons(np.ones((3, 3), bool), 2.0)[0]
    write_geojson(tmp_path / "a.geojson", [feature(rings, "Tissue", (1, 2, 3), measures={"score": 0.5})])
    told = json.loads((tmp_path / "a.geojson").read_text())
    (one,) = told["features"]
    assert (told["type"], one["type"], one["geometry"]["type"]) == ("FeatureCollection", "Feature", "Polygon")
    assert one["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "Tissue", "color": [1, 2, 3]},
        "measurements": {"score": 0.5},
    }
    assert rings[0][0] == rings[0][-1]
