"""Phantom slides are slides: OpenSlide opens them, and masks say where the tumour is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
from PIL import Image

from medtrain.data.phantom.slide import make_phantom_slides, phantom_slides


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("phantom")
    make_phantom_slides(place, 6, 1024, 0)
    return place


def test_openslide_sees_levels_and_resolution(folder: Path) -> None:
    table = pd.read_csv(folder / "table.csv")
    for name in [*table["slide"], "blank.tiff"]:
        slide = openslide.OpenSlide(str(folder / name))
        assert slide.level_dimensions == ((1024, 1024), (256, 256), (64, 64))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)


def test_a_patient_is_sick_or_not_and_so_are_the_masks(folder: Path) -> None:
    table = pd.read_csv(folder / "table.csv")
    assert table.groupby("patient")["label"].nunique().max() == 1
    assert table["label"].nunique() == 2 and table["patient"].nunique() == 6 < len(table)
    for row in table.itertuples():
        mask = np.asarray(Image.open(folder / row.mask)) > 0
        assert mask.shape == (64, 64) and mask.any() == bool(row.label)


def test_tumour_is_bluer_than_the_tissue_around_it(folder: Path) -> None:
    table = pd.read_csv(folder / "table.csv")
    row = table[table["label"] == 1].iloc[0]
    mask = np.asarray(Image.open(folder / row["mask"])) > 0
    slide = openslide.OpenSlide(str(folder / row["slide"]))
    pixels = np.asarray(slide.read_region((0, 0), 2, (64, 64)).convert("RGB"), float)
    tissue = np.ptp(pixels, -1) > 25
    assert pixels[mask][:, 0].mean() < pixels[tissue & ~mask][:, 0].mean() - 5  # haematoxylin absorbs red


def test_a_seed_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    again = phantom_slides({"patients": 2, "slide_px": 512, "cache_dir": str(tmp_path)})
    assert phantom_slides({"patients": 2, "slide_px": 512, "cache_dir": str(tmp_path)}) == again
    make_phantom_slides(tmp_path / "b", 2, 512, 0)
    first = sorted(again.rglob("*.*"))
    assert len(first) > 5
    for file in first:
        other = tmp_path / "b" / file.relative_to(again)
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()
