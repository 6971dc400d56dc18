"""Outlines that people or programs have drawn on slides, in pixels of level 0: GeoJSON, contours of CLAM, a CSV.

GeoJSON is read as QuPath and TRIDENT write it, and as bare geometries. CLAM keeps contours in a Python pickle, which
runs whatever code somebody has put into it: it is refused, and the same contours as JSON are read.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.files import MOST_BYTES

Ring = NDArray[np.float64]  # (N, 2) x and y

UNPICKLE = (
    'python -c \'import json,pickle,sys; json.dump(pickle.load(open(sys.argv[1],"rb")), open(sys.argv[2],"w"), '
    "default=lambda a: a.tolist())' IN.pkl OUT.json"
)
UNCLASSED = "without a class"
IGNORED = "*"  # at the end of a class's name: QuPath's mark of what is to be ignored


@dataclass(frozen=True)
class Outlines:
    """What is drawn on a slide.

    Args:
        shapes: the class of each polygon and its rings, the outline and then its holes.
        left_out: {kind: number} of objects that enclose nothing: points, lines, outlines of fewer than three points.
    """

    shapes: list[tuple[str, list[Ring]]]
    left_out: Counter[str] = field(default_factory=Counter)


def read_outlines(path: Path) -> Outlines:
    """Read a file of outlines, its form told by its content.

    Raises:
        ValueError: with a short reason: it can't be read, or holds no outlines.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError("more than 2 GB of outlines")
    content = path.read_bytes()
    if content[:1] == b"\x80":
        raise ValueError(f"a Python pickle, which can run code when it is opened; if you trust it: {UNPICKLE}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("no text: GeoJSON, contours as JSON, or a CSV are wanted") from None
    outlines = Outlines([])
    try:
        if text.lstrip()[:1] in ("{", "["):
            _read_json(json.loads(text), outlines)
        else:
            _read_csv(text, outlines)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("no whole JSON") from None
    except (TypeError, KeyError, IndexError, AttributeError):
        raise ValueError("JSON, but neither GeoJSON nor contours") from None
    return outlines


def fill(mask: NDArray[np.bool_], rings: Iterable[Ring], scale: float) -> None:
    """Mark, in place, the pixels whose middles lie within rings, by the even-odd rule: a ring within another is a hole.

    Args:
        mask: (H, W), of which pixel (0, 0) begins at the slide's corner.
        rings: of one polygon, in pixels of level 0.
        scale: pixels of level 0 a side of one of the mask's.
    """
    points = [ring / scale - 0.5 for ring in rings]  # so that the middle of pixel n is at n
    start_M2 = np.concatenate(points)
    stop_M2 = np.concatenate([np.roll(ring, -1, 0) for ring in points])
    low, high = start_M2.min(0), start_M2.max(0)
    left, top = np.floor(low).clip(0, mask.shape[::-1]).astype(int)
    right, bottom = (np.ceil(high) + 1).clip(0, mask.shape[::-1]).astype(int)
    if right <= left or bottom <= top:
        return
    down = start_M2[:, 1] < stop_M2[:, 1]
    upper = np.where(down[:, None], start_M2, stop_M2)
    lower = np.where(down[:, None], stop_M2, start_M2)
    first = np.ceil(upper[:, 1]).clip(top, bottom).astype(int)
    rows_each = np.ceil(lower[:, 1]).clip(top, bottom).astype(int) - first  # rows whose middle an edge crosses
    edge = np.repeat(np.arange(len(upper)), rows_each)
    row = np.arange(len(edge)) - np.repeat(rows_each.cumsum() - rows_each, rows_each) + first[edge]
    slope = (lower[edge, 0] - upper[edge, 0]) / (lower[edge, 1] - upper[edge, 1])
    x = upper[edge, 0] + (row - upper[edge, 1]) * slope
    flips = np.zeros((bottom - top, right - left + 1), np.int64)
    np.add.at(flips, (row - top, np.ceil(x).clip(left, right).astype(int) - left), 1)
    mask[top:bottom, left:right] |= flips.cumsum(1)[:, :-1] % 2 == 1


def share_beyond(shapes: Iterable[list[Ring]], size: tuple[int, int]) -> float:
    """Compute the share of polygons' area, from 0 to 1, that lies beyond a slide of `size` (width, height)."""
    import shapely  # late: most data have no outlines

    polygons = [shapely.make_valid(shapely.Polygon(rings[0], rings[1:])) for rings in shapes]
    whole = float(shapely.area(polygons).sum())
    inside = float(shapely.area(shapely.intersection(polygons, shapely.box(0, 0, *size))).sum())
    return 1 - inside / whole if whole > 0 else 0.0


def _read_json(read: Any, outlines: Outlines) -> None:
    if isinstance(read, Mapping) and "tissue" in read and "type" not in read:  # contours of CLAM
        holes = read.get("holes") or [[]] * len(read["tissue"])
        for contour, within in zip(read["tissue"], holes, strict=False):
            _add(outlines, "tissue", [_ring(contour), *map(_ring, within)])
        return
    for name, geometry in _geometries(read):
        if geometry is None or geometry["type"] not in ("Polygon", "MultiPolygon"):
            outlines.left_out["empty objects" if geometry is None else str(geometry["type"])] += 1
            continue
        several = geometry["type"] == "MultiPolygon"
        for polygon in geometry["coordinates"] if several else [geometry["coordinates"]]:
            _add(outlines, name, [_ring(ring) for ring in polygon])


def _geometries(read: Any, name: str = UNCLASSED) -> Iterator[tuple[str, Any]]:
    """Yield (class, geometry) of whatever GeoJSON holds them: collections, features, lists of either, geometries."""
    if isinstance(read, list):
        for part in read:
            yield from _geometries(part, name)
    elif "features" in read:
        yield from _geometries(list(read["features"]), name)
    elif "geometries" in read:
        yield from _geometries(list(read["geometries"]), name)
    elif "geometry" in read:
        named = _class_of(read.get("properties") or {})
        if read["geometry"] is None:
            yield named, None
        else:
            yield from _geometries(read["geometry"], named)
    else:
        yield name, {"type": read["type"], "coordinates": read["coordinates"]}


def _class_of(properties: Mapping[str, Any]) -> str:
    """Name an object's class as QuPath writes it: a name, or the parts of a derived one."""
    classified = properties.get("classification")
    if isinstance(classified, Mapping):
        classified = classified.get("name") or ": ".join(map(str, classified.get("names") or []))
    return str(classified or UNCLASSED)


def _read_csv(text: str, outlines: Outlines) -> None:
    """Read a point a row: x, y, and if there are any contour (its number), hole (of the contour), class."""
    rows = csv.DictReader(io.StringIO(text))
    names = {str(name).strip().lower(): name for name in rows.fieldnames or []}
    if not {"x", "y"} <= names.keys():
        raise ValueError("no outlines: GeoJSON, contours as JSON, or a CSV with x, y and contour are wanted")
    points: dict[tuple[str, str], dict[str, list[list[str]]]] = {}
    for row in rows:
        contour, hole, kind = (str(row.get(names.get(key, "")) or "").strip() for key in ("contour", "hole", "class"))
        rings = points.setdefault((kind or UNCLASSED, contour), {})
        rings.setdefault("" if hole in ("0", "false", "False") else hole, []).append([row[names["x"]], row[names["y"]]])
    for (kind, contour), rings in points.items():
        if "" not in rings:
            raise ValueError(f"contour {contour or '1'} has holes and no outline")
        _add(outlines, kind, [_ring(rings.pop("")), *map(_ring, rings.values())])


def _add(outlines: Outlines, name: str, rings: list[Ring]) -> None:
    if not rings or len(rings[0]) < 3:
        outlines.left_out["outlines of fewer than three points"] += 1
        return
    outlines.shapes.append((name, [ring for ring in rings if len(ring) >= 3]))


def _ring(points: Any) -> Ring:
    """Make (N, 2) of points, which may have OpenCV's shape (N, 1, 2), or a height.

    Raises:
        ValueError: they are none.
    """
    try:
        ring = np.asarray(points, np.float64)
    except (ValueError, TypeError):
        raise ValueError("points that are no numbers") from None
    if ring.ndim == 3 and ring.shape[1] == 1:
        ring = ring[:, 0]
    if not ring.size:
        return np.zeros((0, 2))
    if ring.ndim != 2 or ring.shape[1] not in (2, 3) or not np.isfinite(ring).all():
        raise ValueError(f"points of shape {ring.shape}, or that are no numbers, and x and y are wanted")
    return ring[:, :2]
