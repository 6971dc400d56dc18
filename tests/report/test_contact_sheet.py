"""A sheet of pictures: each stands in its place, whatever its type and shape, and long texts do no harm."""

from __future__ import annotations

import numpy as np

from medtrain.report.contact_sheet import GAP, TILE, Tile, contact_sheet


def test_pictures_stand_side_by_side() -> None:
    grey = np.full((1, 20, 20), 40, np.uint8)
    deep = np.full((1, 20, 20), 130 * 257, np.uint16)
    colour = np.stack([np.full((20, 20), value, np.uint8) for value in (200, 10, 30)])
    sheet = np.asarray(contact_sheet("a title", [("", [Tile(grey), Tile(deep), Tile(colour)])], columns=3))
    assert sheet.shape[1] == GAP + 3 * (TILE + GAP)
    row = sheet[-TILE // 2 - 2 * GAP]
    middles = [row[GAP + n * (TILE + GAP) + TILE // 2].tolist() for n in range(3)]
    assert middles == [[40, 40, 40], [130, 130, 130], [200, 10, 30]]


def test_the_shape_is_kept() -> None:
    tall = np.full((1, 40, 20), 0, np.uint8)
    sheet = np.asarray(contact_sheet("t", [("", [Tile(tall)])], columns=1))
    row = sheet[-TILE // 2 - 2 * GAP, GAP : GAP + TILE, 0]
    assert (row == 0).sum() == TILE // 2


def test_bands_go_on_below_and_texts_are_cut() -> None:
    tile = Tile(None, ["a_very_long_file_name_without_any_blank" * 9, "détail ∞ 漢字 " * 40])
    one = contact_sheet("t" * 900, [("h" * 900, [tile] * 2)], columns=2)
    two = contact_sheet("t", [("h", [tile] * 3)], columns=2)
    assert one.width == two.width and two.height > one.height + TILE
