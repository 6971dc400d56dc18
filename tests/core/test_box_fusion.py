"""Weighted box fusion against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medtrain.core.box_fusion import fuse_boxes
from medtrain.core.truth import PredictedBoxes


def boxes(*rows: tuple[float, float, float, float, float, int, int]) -> PredictedBoxes:
    table = np.array(rows, float).reshape(-1, 7)
    return PredictedBoxes(table[:, :4], table[:, 4], table[:, 5].astype(int), table[:, 6].astype(int))


def test_edges_are_weighted_by_scores_and_the_score_by_the_share_of_sources() -> None:
    drawn = boxes((0, 0, 10, 10, 0.9, 0, 0), (2, 0, 12, 10, 0.3, 0, 0))
    fused, sources = fuse_boxes(drawn, np.array([0, 1]), 3)
    # IoU 80 / 120 = 0.67; edges (0 * 0.9 + 2 * 0.3) / 1.2 = 0.5; score (0.9 + 0.3) / 2 * 2 / 3
    assert fused.boxes_N4.tolist() == [[pytest.approx(0.5), 0, pytest.approx(10.5), 10]]
    assert fused.score_N == pytest.approx([0.4])
    assert sources.tolist() == [2]


def test_a_box_that_one_of_two_drew_counts_half() -> None:
    fused, sources = fuse_boxes(boxes((0, 0, 10, 10, 0.8, 0, 0)), np.array([1]), 2)
    assert fused.score_N == pytest.approx([0.4])
    assert sources.tolist() == [1]


def test_classes_images_and_far_boxes_stay_apart() -> None:
    drawn = boxes(
        (0, 0, 10, 10, 0.5, 0, 0), (0, 0, 10, 10, 0.6, 1, 0), (0, 0, 10, 10, 0.7, 0, 1), (5, 0, 15, 10, 1, 0, 0)
    )
    fused, sources = fuse_boxes(drawn, np.array([0, 1, 1, 1]), 2)
    assert sources.tolist() == [1, 1, 1, 1]  # the last shares 50 / 150 with the first
    assert fused.image_N.tolist() == [0, 0, 0, 1]
    assert fused.score_N == pytest.approx([0.5, 0.3, 0.25, 0.35])


def test_two_boxes_of_one_source_stay_two() -> None:
    drawn = boxes((0, 0, 10, 10, 0.9, 0, 0), (1, 0, 11, 10, 0.8, 0, 0), (0, 0, 10, 10, 0.7, 0, 0))
    fused, sources = fuse_boxes(drawn, np.array([0, 0, 1]), 2)
    assert sources.tolist() == [2, 1]
    assert fused.boxes_N4.tolist() == [[0, 0, 10, 10], [1, 0, 11, 10]]


def test_weights_of_sources_weigh_edges_and_scores() -> None:
    drawn = boxes((0, 0, 10, 10, 0.5, 0, 0), (1, 0, 11, 10, 0.5, 0, 0))
    fused, _ = fuse_boxes(drawn, np.array([0, 1]), [3.0, 1.0])
    assert fused.boxes_N4[0].tolist() == pytest.approx([0.25, 0, 10.25, 10])
    assert fused.score_N == pytest.approx([0.5])


def test_the_box_joins_the_fused_one_that_it_overlaps_most() -> None:
    drawn = boxes((0, 0, 10, 10, 0.9, 0, 0), (3, 0, 13, 10, 0.8, 0, 0), (2, 0, 12, 10, 0.7, 0, 0))
    _, sources = fuse_boxes(drawn, np.array([0, 0, 1]), 2)
    assert sources.tolist() == [2, 1]
    fused, _ = fuse_boxes(drawn, np.array([0, 0, 1]), 2)
    assert fused.boxes_N4[1].tolist() == [0, 0, 10, 10]


def test_nothing_fuses_to_nothing_and_scores_of_zero_to_plain_means() -> None:
    fused, sources = fuse_boxes(boxes(), np.zeros(0, int), 2)
    assert len(fused.score_N) == len(sources) == 0
    fused, _ = fuse_boxes(boxes((0, 0, 10, 10, 0, 0, 0), (2, 0, 12, 10, 0, 0, 0)), np.array([0, 1]), 2)
    assert fused.boxes_N4.tolist() == [[1, 0, 11, 10]]
