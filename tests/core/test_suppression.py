"""Suppression without torch: what torchvision keeps, in its order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms, remove_small_boxes

from medtrain.core.suppression import Suppression, suppress_plain


def boxes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    corner, side = draw.uniform(0, 60, (count, 2)), draw.uniform(0, 20, (count, 2)) ** 1.2
    edges = np.concatenate([corner, corner + side], 1).astype(np.float32)
    return edges, draw.random(count).astype(np.float32), draw.integers(0, 3, count)


@pytest.mark.parametrize("count", [0, 1, 400, 1500])  # torchvision has two ways, by the number of boxes
@pytest.mark.parametrize(("overlap", "most", "score", "smallest"), [(0.5, 100, 0.05, 0.0), (0.3, 2000, -1.0, 2.0)])
def test_what_remains_is_what_torchvision_keeps(
    count: int, overlap: float, most: int, score: float, smallest: float
) -> None:
    edges, scores, groups = boxes(count, count)
    fit = np.flatnonzero(scores > score)
    fit = fit[remove_small_boxes(torch.from_numpy(edges[fit]), smallest).numpy()]
    tensors = (torch.from_numpy(part[fit]) for part in (edges, scores, groups))
    expected = fit[batched_nms(*tensors, overlap).numpy()][:most]
    rows = suppress_plain(edges, scores, groups, Suppression(overlap, most, score, smallest))
    np.testing.assert_array_equal(rows, expected)


def test_of_equals_the_first_stays_and_another_group_is_let_be() -> None:
    edges = np.array([[0, 0, 10, 10]] * 3, np.float32)
    rows = suppress_plain(edges, np.ones(3, np.float32), np.array([0, 0, 1]), Suppression(0.5, 10))
    assert rows.tolist() == [0, 2]


def test_boxes_without_any_area_suppress_nothing() -> None:
    edges = np.array([[5, 5, 5, 5]] * 2, np.float32)
    assert len(suppress_plain(edges, np.ones(2, np.float32), np.zeros(2, int), Suppression(0.5, 10))) == 2
