"""Tissue, pen and tiles: against brute force, matplotlib's HSV, and phantoms whose tissue is known."""

from __future__ import annotations

from pathlib import Path

import matplotlib.colors
import numpy as np
import pytest

from medtrain.data.phantom.histology import EOSIN, HAEMATOXYLIN
from medtrain.data.slide import tissue
from medtrain.data.slide.tiles import Tiling, box_means, grid, reading_order, survey
from medtrain.data.slide.tissue import Tissue, otsu, pen_mask, tissue_mask
from medtrain.io.slide import View
from tests.slide_files import flat_slide, slide_file, stained

GLASS = 245
PINK = tuple((255 * np.exp(-0.5 * HAEMATOXYLIN - 0.5 * EOSIN)).astype(int))


def glass(height: int = 120, width: int = 160) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-3, 4, (height, width, 3))
    return (GLASS + noise).astype(np.uint8)


def test_otsu_is_the_best_cut() -> None:
    draw = np.random.default_rng(0)
    values = np.concatenate([draw.normal(0.03, 0.01, 3000), draw.normal(0.3, 0.1, 1000)]).clip(0, 1)

    def within(cut: float) -> float:
        sides = values[values < cut], values[values >= cut]
        return sum(side.var() * len(side) for side in sides if len(side))

    cuts = np.arange(1, 256) / 256
    assert within(otsu(values)) <= min(within(cut) for cut in cuts) * (1 + 1e-3)


def test_hue_saturation_and_brightness_are_matplotlibs() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    saturation, brightness, hue = tissue.hsv(picture)
    theirs = matplotlib.colors.rgb_to_hsv(picture / 255)
    assert np.allclose(hue, theirs[..., 0] * 360, atol=1e-2)
    assert np.allclose(saturation, theirs[..., 1], atol=1e-5)
    assert np.allclose(brightness, theirs[..., 2], atol=1e-5)


def test_stained_tissue_and_nothing_else() -> None:
    picture = glass()
    picture[30:90, 40:100] = PINK
    picture[55:58, 60:63] = GLASS  # a small hole
    picture[5:9, 5:9] = PINK  # a crumb
    picture[100:118, :] = 10  # a black border
    picture[20:100, 130:140] = (30, 150, 70)  # green ink
    ink = pen_mask(picture)
    assert ink[22:98, 130:140].all() and not ink[:, :120].any()
    mask = tissue_mask(picture, ink, tile=64)
    assert mask[32:88, 42:98].all()
    mask[28:92, 38:102] = False
    assert not mask.any()


def test_ink_over_tissue_is_taken_out() -> None:
    picture = glass()
    picture[20:100, 20:140] = PINK
    for at, colour in ((40, (20, 60, 200)), (80, (10, 120, 60)), (110, (250, 20, 30))):
        picture[:, at : at + 6] = colour
    ink = pen_mask(picture)
    mask = tissue_mask(picture, ink, tile=16)
    for at in (40, 80, 110):
        assert ink[:, at : at + 6].all() and not mask[:, at : at + 6].any()
    assert mask[30:90, 55:70].all() and not ink[:, 50:76].any()


@pytest.mark.parametrize("what", ["glass", "black", "all tissue"])
def test_slides_without_two_kinds_of_pixels(what: str) -> None:
    picture = glass()
    if what == "black":
        picture[:] = 3
    if what == "all tissue":
        picture[:] = np.random.default_rng(1).normal(PINK, 8, picture.shape).clip(0, 255)
    mask = tissue_mask(picture, pen_mask(picture), tile=64)
    assert mask.all() if what == "all tissue" else not mask.any()


def test_the_tissue_of_a_phantom_is_found(tmp_path: Path) -> None:
    for seed in range(2):
        found = survey(str(slide_file(tmp_path / f"{seed}.tiff", 1024, seed)), Tiling(px=128))
        truth = stained(1024, seed)[1].repeat(2, 0).repeat(2, 1) > 0.5
        both, either = (found.tissue.mask & truth).sum(), (found.tissue.mask | truth).sum()
        assert found.tissue.scale == 8 and both / either > 0.9
        assert found.tissue.mm2 == pytest.approx(found.tissue.mask.sum() * 0.004**2)


def test_shares_are_means_of_squares() -> None:
    mask = np.random.default_rng(0).random((30, 40)) > 0.5
    at = np.array([[0, 0], [3, 5], [25, 20], [38, 28]])
    whole = np.pad(mask, ((0, 20), (0, 20)))
    expected = [whole[y : y + 8, x : x + 8].mean() for x, y in at]
    assert np.allclose(box_means(mask, at.astype(float), 8.0), expected)
    fine = np.pad(mask, ((0, 20), (0, 20))).repeat(10, 0).repeat(10, 1)
    at_10 = np.array([[1.3, 2.7], [0.1, 19.9]])
    expected = [fine[round(y * 10) : round(y * 10) + 45, round(x * 10) : round(x * 10) + 45].mean() for x, y in at_10]
    assert np.allclose(box_means(mask, at_10, 4.5), expected)


def test_tiles_are_those_with_enough_tissue_at_level_0() -> None:
    mask = np.zeros((40, 60), bool)
    mask[:20, :12] = True
    found = Tissue(mask, np.zeros((40, 60, 3), np.uint8), 16.0, 0.0, False)
    view = View(1, 2.0, 16, 4.0, 128.0)  # 8 pixels of the mask
    assert grid((960, 640), view, found, 0.25).tolist() == [
        [0, 0], [128, 0], [0, 128], [128, 128], [0, 256], [128, 256]
    ]  # fmt: skip
    assert grid((960, 640), view, found, 0.6).tolist() == [[0, 0], [0, 128]]
    assert len(grid((960, 640), view, found, 0.0)) == 6  # without tissue there is nothing to see


def test_neighbours_are_read_together() -> None:
    coords = np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2) * 100
    order = reading_order(coords, 100.0)
    assert sorted(order) == list(range(400))
    first = coords[order[:64]]
    assert first.max() == 700


def test_a_one_level_slide_of_another_magnification(tmp_path: Path) -> None:
    pixels = stained(1024)[0]
    path = flat_slide(tmp_path / "one.tiff", pixels, resolution=(40000, 40000), resolutionunit="CENTIMETER")
    found = survey(str(path), Tiling.of({"mpp": 0.5, "magnification": 10, "tile_px": 64}))
    assert (found.view.factor, found.view.edge, found.view.mpp) == (4.0, 256.0, 1.0)
    assert set((found.coords % 256).ravel().tolist()) == {0}
