"""Draws the tiny data of the run folders in tests/fixtures/runs_0_1; see scripts/fixtures_0_1.py.

The files are committed, so that a run of version 0.1 can be tested on the very data it was trained on, whatever becomes
of the code that draws phantoms. Everything is drawn from a seed of its own and shows what its label says, if dimly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

FINDINGS = ("normal", "opacity", "nodule")


def films(folder: Path, count: int = 48, side: int = 32) -> None:
    """Draw films of 32 patients and their table: a binary label, three classes, and a column a finding."""
    rng = np.random.default_rng(11)
    (folder / "films").mkdir(parents=True)
    rows = []
    for number in range(count):
        patient = number % 32
        finding = FINDINGS[patient % 3]
        picture = _background(rng, side)
        if finding != "normal":
            spread, height = (7.0, 70.0) if finding == "opacity" else (2.0, 110.0)
            picture += height * _bump(rng.uniform(8, side - 8, 2), side, spread)
        name = f"film_{number:02}.png"
        _write_png(folder / "films" / name, picture)
        site = ("north", "south")[patient % 2]
        both = [int(finding == "opacity" or number % 7 == 0), int(finding == "nodule")]
        marks = ["" if number % 11 == 5 else str(mark) for mark in both]  # an empty cell is an unknown label
        rows.append([f"films/{name}", f"p{patient:02}", site, int(finding != "normal"), finding, *marks])
    names = ["path", "patient", "site", "label", "finding", "opacity", "nodule"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "films.csv", index=False)


def volumes(folder: Path, count: int = 28, side: int = 12) -> None:
    """Draw MRI volumes of 3 x 2 x 2 mm voxels and their table; the sick ones hold a bright ball."""
    rng = np.random.default_rng(12)
    (folder / "scans").mkdir(parents=True)
    rows = []
    for number in range(count):
        sick = number % 2
        voxels = rng.normal(90, 15, (side, side, side))
        if sick:
            voxels += 90 * _bump(rng.uniform(3, side - 3, 3), side, 2.5)
        name = f"scans/scan_{number:02}.nii"
        image = nib.Nifti1Image(voxels.clip(0, 255).round().astype(np.uint8), np.diag([2.0, 2.0, 3.0, 1.0]))
        nib.save(image, folder / name)
        rows.append([name, f"p{number:02}", ("well", "sick")[sick]])
    pd.DataFrame(rows, columns=["path", "patient", "label"]).to_csv(folder / "scans.csv", index=False)


def bags(folder: Path, count: int = 32, width: int = 8) -> None:
    """Draw slides' feature bags as TRIDENT writes them, and their table; a sick slide has a few high tiles."""
    rng = np.random.default_rng(13)
    (folder / "bags").mkdir(parents=True)
    rows = []
    for number in range(count):
        sick, tiles = number % 2, 6 + number % 5
        features = rng.normal(0, 1, (tiles, width)).astype(np.float32)
        features[: 2 * sick, 0] += 3
        places = np.array([[256 * (tile % 4), 256 * (tile // 4)] for tile in range(tiles)])
        with h5py.File(folder / "bags" / f"slide_{number:02}.h5", "w", track_order=False) as file:
            file["features"] = features
            coords = file.create_dataset("coords", data=places)
            coords.attrs.update(patch_size_level0=256, level0_width=1024, level0_height=1024, level0_magnification=20)
        rows.append([f"slide_{number:02}", f"p{number:02}", sick])
    pd.DataFrame(rows, columns=["slide", "patient", "label"]).to_csv(folder / "slides.csv", index=False)


def boxes(folder: Path, count: int = 36, side: int = 64) -> None:
    """Draw films with none to two bright lesions, and their boxes in COCO's format."""
    rng = np.random.default_rng(14)
    (folder / "films").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        picture, name = _background(rng, side), f"p{number:02}_film.png"
        for _ in range(number % 3):
            middle, radius = rng.uniform(14, side - 14, 2), float(rng.uniform(5, 9))
            picture += 120 * _bump(middle, side, radius / 1.5)
            x, y, edge = round(middle[1] - radius, 1), round(middle[0] - radius, 1), round(2 * radius, 1)
            box = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": [x, y, edge, edge]}
            annotations.append(box | {"area": round(edge * edge, 2), "iscrowd": 0})
        _write_png(folder / "films" / name, picture)
        images.append({"id": number, "file_name": name, "width": side, "height": side})
    whole = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "nodule"}]}
    (folder / "lesions.json").write_text(json.dumps(whole, indent=1) + "\n")


DRAW = {"xray_cls": films, "xray_classes": films, "volume_cls": volumes, "wsi_mil": bags, "lesion_det": boxes}


def _background(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """A film without findings: a slope and grains. Coarse grey values keep the files small."""
    slope = np.linspace(40, 90, side)[:, None] * np.ones(side)
    return slope + rng.normal(0, 12, (side, side))


def _bump(middle: NDArray[np.float64], side: int, spread: float) -> NDArray[np.float64]:
    """A Gaussian of height 1 in as many dimensions as `middle` has."""
    axes = np.meshgrid(*[np.arange(side)] * len(middle), indexing="ij")
    squares = sum((axis - centre) ** 2 for axis, centre in zip(axes, middle, strict=True))
    return np.asarray(np.exp(-squares / (2 * spread**2)))


def _write_png(file: Path, picture: NDArray[np.float64]) -> None:
    Image.fromarray((picture.clip(0, 255) / 8).round().astype(np.uint8) * 8).save(file, optimize=True)
