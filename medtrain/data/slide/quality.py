"""What was taken for tissue, to look at: a picture with its outline and tiles, and GeoJSON for QuPath."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medtrain.data.slide.tiles import Survey
from medtrain.io.files import atomic_path
from medtrain.io.geojson import Polygon, feature, mask_polygons, write_geojson

LARGEST = 1600  # pixels a side of the picture
OUTLINE, TILES = (30, 140, 60), (40, 80, 200)


def write_quality(folder: Path, name: str, survey: Survey) -> None:
    """Write `folder`/NAME.png, the tissue's outline in green and the tiles in blue, and NAME.geojson, the tissue."""
    polygons = mask_polygons(survey.tissue.mask, survey.tissue.scale)
    write_geojson(folder / f"{name}.geojson", [feature(polygon, "Tissue", OUTLINE) for polygon in polygons])
    with atomic_path(folder / f"{name}.png") as temporary:
        draw_quality(survey, polygons).save(temporary, "PNG")


def draw_quality(survey: Survey, polygons: list[Polygon]) -> Image.Image:
    """Draw the overview with outlines and tiles, enlarged or reduced to a handy size."""
    height, width = survey.tissue.picture.shape[:2]
    zoom = (
        LARGEST / max(height, width)
        if max(height, width) > LARGEST
        else min(4, max(1, LARGEST // 2 // max(height, width)))
    )
    picture = Image.fromarray(survey.tissue.picture).resize(
        (max(1, round(width * zoom)), max(1, round(height * zoom))), Image.Resampling.BILINEAR
    )
    scale = survey.tissue.scale / zoom
    draw = ImageDraw.Draw(picture)
    for x, y in survey.coords / scale:
        draw.rectangle((x, y, x + survey.view.edge / scale, y + survey.view.edge / scale), outline=TILES)
    for polygon in polygons:
        for ring in polygon:
            points: NDArray[np.float64] = np.asarray(ring) / scale
            draw.line([tuple(point) for point in points], fill=OUTLINE, width=2)
    return picture
