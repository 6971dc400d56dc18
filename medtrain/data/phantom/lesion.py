"""Chest films with nodules, and a box around each: what detection can be tried on, without anyone's data.

They are written as COCO has them (PNG files of 8 and 16 bit, one JSON with the patients) and read by the real reader.
Half of the films show nothing; nodules go down to 4 pixels at working size and overlap with ribs and vessels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medtrain.core.progress import Progress
from medtrain.core.streams import stream
from medtrain.data.phantom.anatomy import Anatomy, Picture, draw_anatomy, draw_chest, grid, soft_step
from medtrain.data.phantom.film import SITES, expose, mark, save, scattered
from medtrain.data.phantom.made import by_patient
from medtrain.io.build_once import build_once
from medtrain.io.cache_root import cache_root
from medtrain.io.files import write_json

VERSION = 1  # raise it when the same parameters give other files
SICK = 0.55  # of the patients
SHOWN = 0.85  # of their films
ENLARGED = 1.2  # the largest film in working sizes
SMALLEST, LARGEST = 4.0, 0.17  # diameter: pixels and share of the height, at working size
CATEGORY = {"id": 1, "name": "nodule"}

Boxes = list[tuple[float, float, float, float]]


def lesion_folder(cfg: Mapping[str, Any], progress: Progress | None = None) -> Path:
    """Find the folder of the phantom that `cfg` asks for (patients, image_size, phantom_seed), made if need be."""
    patients, size, seed = int(cfg["patients"]), int(np.max(cfg["image_size"])), int(cfg.get("phantom_seed") or 0)
    folder = cache_root(cfg.get("cache_dir")) / "phantoms" / f"lesion_v{VERSION}_{patients}p_{size}px_seed{seed}"
    build_once(
        folder,
        lambda place: make_phantom_lesion(place, patients=patients, image_size=size, seed=seed, progress=progress),
    )
    return folder


def make_phantom_lesion(
    folder: Path, *, patients: int, image_size: int, seed: int, progress: Progress | None = None
) -> None:
    """Write `images/*.png` and `annotations.json`.

    Args:
        patients: each with one to three films.
        image_size: height in pixels that the films are looked at in; they are a little larger.
        seed: the same seed gives the same files.
        progress: called with (done, total) patients.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for films in by_patient(lambda number: _patient(folder, number, image_size, seed), patients, progress):
        for image, boxes in films:
            images.append({"id": len(images) + 1, **image})
            annotations += [_annotation(len(annotations) + n, images[-1]["id"], b) for n, b in enumerate(boxes, 1)]
    content = {"info": {"description": "synthetic"}, "categories": [CATEGORY]}
    write_json(folder / "annotations.json", content | {"images": images, "annotations": annotations})


def _annotation(number: int, image: int, box: tuple[float, float, float, float]) -> dict[str, Any]:
    x0, y0, x1, y1 = (round(value, 2) for value in box)
    wide, high = round(x1 - x0, 2), round(y1 - y0, 2)
    ids = {"id": number, "image_id": image, "category_id": CATEGORY["id"]}
    return ids | {"bbox": [x0, y0, wide, high], "area": round(wide * high * np.pi / 4, 2), "iscrowd": 0}


def _patient(folder: Path, number: int, image_size: int, seed: int) -> list[tuple[dict[str, Any], Boxes]]:
    """Write one patient's films; their entries and boxes."""
    draw = stream(seed, "phantom_lesion", number)
    anatomy = draw_anatomy(draw)
    sick = draw.random() < SICK
    site = SITES[int(draw.integers(len(SITES)))]
    films = []
    for film in range(int(draw.integers(1, 4))):
        count = int(draw.choice((1, 2, 3, 4), p=(0.4, 0.3, 0.2, 0.1))) if sick and draw.random() < SHOWN else 0
        picture, boxes = draw_film(draw, anatomy, count, site, image_size)
        name = f"p{number:04d}_{film}.png"
        save(picture, folder / "images" / name, draw)
        size = {"height": picture.shape[0], "width": picture.shape[1]}
        films.append(({"file_name": name, **size, "patient": f"p{number:04d}"}, boxes))
    return films


def draw_film(
    draw: np.random.Generator, anatomy: Anatomy, count: int, site: str, image_size: int
) -> tuple[Picture, Boxes]:
    """Draw one film, 0 (black) to 1, with up to `count` nodules, and their boxes in its pixels."""
    height = round(image_size * draw.uniform(1.0, ENLARGED))
    width = round(height * draw.uniform(0.85, 1.0))
    chest, lungs = draw_chest(anatomy, *grid(height, width, draw), supine=False)
    nodules, boxes = _nodules(draw, lungs, count, height / image_size * SMALLEST, LARGEST * height)
    return mark(draw, expose(draw, scattered(chest) + nodules, site)), boxes


def _nodules(draw: np.random.Generator, lungs: Picture, count: int, least: float, most: float) -> tuple[Picture, Boxes]:
    """Round and oval nodules with a soft rim, apart from each other; as many small as large ones."""
    out, boxes = np.zeros_like(lungs), Boxes()
    rows, columns = np.mgrid[: lungs.shape[0], : lungs.shape[1]] + 0.5
    inside: NDArray[np.int64] = np.flatnonzero(lungs.ravel() > 0.8)
    for _ in range(count):
        across, oval = float(np.exp(draw.uniform(np.log(least), np.log(most)))), draw.uniform(0.8, 1.25)
        a, b = across / 2 * np.sqrt(oval), across / 2 / np.sqrt(oval)
        cy, cx = divmod(int(inside[draw.integers(len(inside))]), lungs.shape[1])
        box = (max(cx - a, 0.0), max(cy - b, 0.0), min(cx + a, lungs.shape[1]), min(cy + b, lungs.shape[0]))
        strength = draw.uniform(0.2, 0.36)
        if any(box[0] < o[2] + 2 and o[0] < box[2] + 2 and box[1] < o[3] + 2 and o[1] < box[3] + 2 for o in boxes):
            continue
        rim = np.hypot((columns - cx) / a, (rows - cy) / b) - 1
        out = np.maximum(out, strength * soft_step(rim, max(0.08, 0.5 / across)))
        boxes.append(box)
    return np.asarray(gaussian_filter(out, 0.5)), boxes
