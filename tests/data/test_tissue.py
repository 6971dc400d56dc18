"""Tissue, pen and tiles: against brute force, matplotlib's HSV, and phantoms whose tissue is known."""

from __future__ import annotations

from pathlib import Path

import matplotlib.colors
import numpy as np
import pytest

from medtrain.data.phantom.histology import EOSIN, HAEMATOXYLIN
from medtrain.data.slide import tissue
from medtrain.data.slide.ink import pen_masks
from medtrain.data.slide.tiles import Tiling, box_means, grid, reading_order, survey
from medtrain.data.slide.tissue import Tissue, find_tissue, hsv, lowest_cut, otsu, smooth, tissue_mask, why_none
from medtrain.io.slide import View
from tests.slide_files import flat_slide, slide_file, stained

GLASS = 245
PINK = tuple((255 * np.exp(-0.5 * HAEMATOXYLIN - 0.5 * EOSIN)).astype(int))


def looked_at(picture: np.ndarray, tile: float, ink: str = "pure") -> tuple[np.ndarray, np.ndarray]:
    """Where there is ink (black left aside), and tissue."""
    inks, _ = pen_masks(hsv(picture), ink)
    saturation = hsv(picture)[0]
    threshold = lowest_cut(smooth(saturation), ~np.any(list(inks.values()), axis=0))
    mask, _ = tissue_mask(saturation, inks, tile, threshold)
    return np.any([where for colour, where in inks.items() if colour != "black"], axis=0), mask


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
    ink, mask = looked_at(picture, 64)
    assert ink[22:98, 130:140].all() and not ink[:, :120].any()
    assert mask[32:88, 42:98].all()
    mask[28:92, 38:102] = False
    assert not mask.any()


def test_ink_over_tissue_is_taken_out() -> None:
    picture = glass()
    picture[20:100, 20:140] = PINK
    for at, colour in ((40, (20, 60, 200)), (80, (10, 120, 60)), (110, (250, 20, 30))):
        picture[:, at : at + 6] = colour
    ink, mask = looked_at(picture, 16)
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
    _, mask = looked_at(picture, 64)
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


STAINS = {
    "Masson": (70, 110, 175), "Alcian": (90, 170, 190), "picrosirius": (200, 25, 40), "deep eosin": (235, 45, 60),
    "strong haematoxylin": (40, 30, 100), "stronger": (18, 15, 79), "Goldner light green": (60, 140, 110),
    "Luxol fast blue": (50, 90, 160), "toluidine blue": (60, 60, 170), "Congo red": (220, 60, 70),
    "Oil Red O": (215, 40, 45), "PAS": (190, 50, 130), "Giemsa": (80, 90, 190), "methyl green": (80, 165, 150),
    "Prussian blue": (60, 100, 150), "DAB": (110, 70, 40), "dark purple": (34, 16, 50), "PAS pale": (225, 205, 222),
}  # fmt: skip


@pytest.mark.parametrize("name", STAINS)
def test_stains_are_no_ink(name: str) -> None:
    picture = glass().astype(int)
    noise = np.random.default_rng(3).normal(0, 6, (60, 100, 1))
    picture[30:90, 30:130] = STAINS[name] + noise
    ink, mask = looked_at(picture.clip(0, 255).astype(np.uint8), 64)
    assert mask[32:88, 32:128].mean() > 0.98 and ink.mean() < 0.01


PENS = {
    "blue": (20, 60, 200), "green": (10, 120, 60), "bright green": (30, 170, 60), "red": (250, 20, 30),
    "black": (20, 20, 25), "phantom green": (38, 154, 84), "phantom blue": (34, 84, 198),
}  # fmt: skip


@pytest.mark.parametrize("name", PENS)
def test_pens_are_ink_and_no_ink_keeps_them(name: str) -> None:
    picture = glass()
    picture[30:90, 30:60] = PINK
    picture[20:110, 90:100] = PENS[name]
    _, mask = looked_at(picture, 64)
    assert mask[32:88, 32:58].all() and not mask[:, 80:].any()
    assert looked_at(picture, 64, "none")[1][22:108, 91:99].any() or name == "black"


@pytest.mark.parametrize(("colour", "name"), [("blue", "Masson"), ("red", "picrosirius"), ("green", "methyl green")])
def test_what_may_be_either_stays_and_goes_when_named(colour: str, name: str) -> None:
    picture = glass()
    picture[30:90, 30:130] = STAINS[name]
    inks, doubts = pen_masks(hsv(picture))
    assert doubts[colour][30:90, 30:130].all() and not inks[colour].any()
    assert looked_at(picture, 64)[1][32:88, 32:128].all()
    assert not looked_at(picture, 64, colour)[1].any()
    assert looked_at(picture, 64, "black")[1][32:88, 32:128].all()


DOUBTFUL = {
    "red": [(220, 30, 30), (150, 20, 30)], "yellow": [(250, 225, 20), (250, 130, 20)], "green": [(0, 150, 140)],
    "blue": [(60, 140, 230), (20, 30, 90), (0, 170, 210)], "purple": [(110, 40, 160), (250, 60, 160), (210, 20, 140)],
    "black": [(60, 60, 65), (95, 95, 100)],
}  # fmt: skip


@pytest.mark.parametrize(("name", "pen"), [(name, pen) for name, pens in DOUBTFUL.items() for pen in pens])
def test_pens_that_may_be_stain_are_told_and_go_when_named(name: str, pen: tuple[int, int, int]) -> None:
    picture = glass()
    picture[30:90, 30:60] = PINK
    picture[20:110, 90:110] = pen
    inks, doubts = pen_masks(hsv(picture))
    assert doubts[name][22:108, 92:108].mean() > 0.95 and not doubts[name][30:90, 30:60].any()
    assert not np.any([where[30:90, 30:60].any() for where in inks.values()])
    _, mask = looked_at(picture, 64, name)
    assert mask[32:88, 32:58].all() and not mask[:, 80:].any()


def test_pale_tissue_beside_dark_is_tissue() -> None:
    for pale in ((212, 216, 232), (220, 208, 226), (228, 224, 210)):
        picture = np.random.default_rng(0).normal(244, 2, (160, 240, 3))
        picture[20:140, 20:110] = (110, 70, 40) + np.random.default_rng(1).normal(0, 20, (120, 90, 1))
        picture[40:120, 140:220] = pale + np.random.default_rng(2).normal(0, 2, (80, 80, 3))
        _, mask = looked_at(picture.clip(0, 255).astype(np.uint8), 64)
        assert mask[42:118, 142:218].all() and mask[22:138, 22:108].all()
        mask[17:143, 17:113] = mask[37:123, 137:223] = False
        assert not mask.any()


def test_what_removed_the_tissue_is_named(tmp_path: Path) -> None:
    def found(colour: tuple[int, int, int], ink: str = "pure") -> Tissue:
        pixels = np.full((1024, 1024, 3), 244, np.uint8)
        pixels[256:768, 256:768] = colour
        path = flat_slide(tmp_path / "s.tiff", pixels, resolution=(40000, 40000), resolutionunit="CENTIMETER")
        return find_tissue(Tiling().open(str(path)), 64.0, None, ink)

    blue = found((20, 60, 200))
    assert blue.removed["blue ink"] == pytest.approx(0.25, abs=0.08) and blue.pen
    assert "left out were, of the slide, blue ink 3" in why_none(blue, 0.25)
    assert "data.ink=false keeps" in why_none(blue, 0.25)
    assert "(see its picture); data.tissue_threshold" in why_none(found((244, 244, 244)), 0.25)
    assert "it has no colours" in why_none(found((120, 120, 120)), 0.25)
    masson = found((70, 110, 175))
    assert masson.doubts["blue"] > 0.7 and not masson.removed
    assert masson.mm2 == pytest.approx(0.0164, rel=0.25)
    assert "mm2 of tissue were found" in why_none(masson, 0.25) and "data.min_tissue" in why_none(masson, 0.25)


@pytest.mark.parametrize("width", [2, 4, 8, 12])
@pytest.mark.parametrize("top", [3, 14, 20])
def test_needles_thinner_than_a_tile_are_covered(width: int, top: int) -> None:
    mask = np.zeros((64, 160), bool)
    mask[top : top + width, 10:150] = True
    view = View(0, 1.0, 256, 0.5, 256.0)  # 16 pixels of the mask
    picture = glass(64, 160)
    picture[mask] = PINK
    _, seen = looked_at(picture, 256.0)
    assert seen[top : top + width, 14:146].all()
    tiles = grid((2560, 1024), view, Tissue(mask, picture, 16.0, 0.0, False), 0.25) // 16
    covered = np.zeros_like(mask)
    for x, y in tiles:
        covered[y : y + 16, x : x + 16] = True
    assert covered[mask].mean() > 0.75
