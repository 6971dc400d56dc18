"""Boxes of overlapping tiles against arrangements whose right answer is plain."""

from __future__ import annotations

import numpy as np
import pytest

from medtrain.core.tile_merging import Views, merge_tiles
from medtrain.core.truth import PredictedBoxes

LEFT, RIGHT, WHOLE = (0, 0, 100, 100), (80, 0, 180, 100), (0, 0, 180, 100)  # tiles of an image of 180 x 100


def merge(
    *rows: tuple[tuple[int, ...], tuple[float, ...], float], labels: list[int] | None = None, overlap: float = 0.5
):
    tiles = list(dict.fromkeys(row[0] for row in rows))
    boxes = np.array([row[1] for row in rows], float).reshape(-1, 4)
    n = len(rows)
    found = PredictedBoxes(boxes, np.array([row[2] for row in rows]), np.array(labels or [0] * n), np.zeros(n, int))
    views = Views(
        np.array([tiles.index(row[0]) for row in rows], int),
        np.array([row[0] for row in rows], float).reshape(-1, 4),
        np.full(n, 2.0),
    )
    merged = merge_tiles(found, views, np.array([[100, 180]]), overlap)
    return [(*box, score) for box, score in zip(merged.boxes_N4.tolist(), merged.score_N.tolist(), strict=True)]


def test_halves_of_a_lesion_become_the_whole() -> None:
    # of (30, 10)-(150, 90) each tile shows a part; their IoU is 1600 / 9600
    assert merge((LEFT, (30, 10, 100, 90), 0.6), (RIGHT, (80, 11, 150, 90), 0.8)) == [(30, 11, 150, 90, 0.8)]


def test_a_fragment_goes_into_the_box_of_the_tile_that_sees_all_even_if_that_is_less_sure() -> None:
    assert merge((LEFT, (85, 10, 100, 90), 0.9), (RIGHT, (85, 10, 150, 90), 0.5)) == [(85, 10, 150, 90, 0.9)]


@pytest.mark.parametrize("small", [(60, 40, 70, 50), (92, 40, 100, 50), (85, 40, 95, 50)])
def test_a_small_lesion_inside_a_large_one_survives(small: tuple[float, ...]) -> None:
    large = [(LEFT, (30, 10, 100, 90), 0.9), (RIGHT, (80, 10, 150, 90), 0.8)]
    rows = merge(*large, (LEFT, small, 0.7))
    assert rows == [(30, 10, 150, 90, 0.9), (*small, 0.7)]


def test_whole_boxes_merge_by_iou_and_only_across_tiles() -> None:
    pair = [(82, 10, 98, 30), (82, 12, 98, 32)]  # IoU 0.82
    assert merge((LEFT, pair[0], 0.7), (RIGHT, pair[1], 0.9)) == [(*pair[1], 0.9)]
    assert len(merge((LEFT, pair[0], 0.7), (LEFT, pair[1], 0.9))) == 2
    assert len(merge((LEFT, pair[0], 0.7), (RIGHT, pair[1], 0.9), overlap=0.9)) == 2
    assert len(merge((LEFT, pair[0], 0.7), (RIGHT, pair[1], 0.9), labels=[0, 1])) == 2


def test_two_lesions_side_by_side_that_both_tiles_see_stay_two() -> None:
    one, two = (82, 10, 94, 30), (86, 10, 97, 30)  # IoU 8 / 15
    rows = merge((LEFT, one, 0.9), (LEFT, two, 0.8), (RIGHT, one, 0.7), (RIGHT, two, 0.6))
    assert rows == [(*one, 0.9), (*two, 0.8)]


def test_a_second_box_that_the_other_tile_does_not_see_is_dropped() -> None:
    one, second = (82, 10, 94, 30), (84, 10, 96, 30)
    assert merge((LEFT, one, 0.9), (RIGHT, one, 0.8), (RIGHT, second, 0.2)) == [(*one, 0.9)]


def test_two_lesions_cut_by_edges_at_different_heights_stay_two() -> None:
    rows = merge((LEFT, (60, 5, 100, 40), 0.9), (RIGHT, (80, 50, 130, 90), 0.8))
    assert len(rows) == 2


def test_halves_meet_where_tiles_only_touch() -> None:
    tiles = (0, 0, 90, 100), (90, 0, 180, 100)
    assert merge((tiles[0], (30, 10, 89, 90), 0.6), (tiles[1], (91, 10, 150, 90), 0.5)) == [(30, 10, 150, 90, 0.6)]


def test_a_lesion_at_the_edge_of_the_image_is_whole() -> None:
    # both reach the image's top, no inner edge: plain IoU 0.5 is not more than 0.5
    assert len(merge((LEFT, (82, 0, 97, 20), 0.6), (RIGHT, (82, 0, 97, 40), 0.5))) == 2


def test_the_whole_image_is_a_tile_without_inner_edges() -> None:
    rows = merge((LEFT, (5, 10, 100, 90), 0.6), (RIGHT, (80, 10, 175, 90), 0.5), (WHOLE, (4, 10, 174, 90), 0.4))
    assert rows == [(4, 10, 174, 90, 0.6)]


def test_chains_over_three_tiles_in_any_order_of_scores() -> None:
    tiles = [(start, 0, start + 60, 100) for start in (0, 50, 100)]  # the last ends at 160
    parts = [(20, 10, 60, 90), (50, 10, 110, 90), (100, 10, 140, 90)]
    for scores in ([0.9, 0.5, 0.7], [0.5, 0.9, 0.7], [0.7, 0.6, 0.9]):
        (row,) = merge(*zip(tiles, parts, scores, strict=True))
        assert row == (20, 10, 140, 90, 0.9)


def test_nothing_stays_nothing() -> None:
    assert merge() == []
