"""Anchors: fitted to boxes, and what they reach, worked out by hand or by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from medtrain.core.anchors import anchor_recall, fit_anchors, iou_of_shapes, places, recall_by_size, typical_shapes
from medtrain.target import DataSpec


def test_shapes_overlap_as_torchvision_has_it() -> None:
    wh = np.random.default_rng(0).uniform(2, 50, (7, 2))
    centred = torch.from_numpy(np.concatenate([-wh / 2, wh / 2], 1))
    np.testing.assert_allclose(iou_of_shapes(wh, wh[:4]), box_iou(centred, centred[:4]).numpy())


def test_clusters_are_found_and_dealt_out_by_size() -> None:
    draw = np.random.default_rng(1)
    kinds = np.array([[6, 6], [8, 5], [30, 30], [20, 45]], float)
    wh = kinds[draw.integers(4, size=400)] * draw.uniform(0.97, 1.03, (400, 2))
    fine, coarse = fit_anchors(wh, levels=2, per_level=2)
    np.testing.assert_allclose(sorted(fine.tolist()), [[6, 6], [8, 5]], rtol=0.03)
    np.testing.assert_allclose(sorted(coarse.tolist()), [[20, 45], [30, 30]], rtol=0.03)
    again = fit_anchors(wh[::-1], levels=2, per_level=2)
    np.testing.assert_allclose(np.stack(again), np.stack([fine, coarse]))


def test_fewer_boxes_than_anchors_and_none() -> None:
    assert [level.shape for level in fit_anchors([[10, 12]], 3, 3)] == [(3, 2)] * 3
    with pytest.raises(ValueError, match="no boxes"):
        fit_anchors(np.empty((0, 2)), 1, 1)


def test_recall_equals_a_count_over_all_anchors() -> None:
    """Every anchor laid out on its grid, every place of the box tried."""
    wh, anchors, strides = [[7.0, 9.0], [4.5, 6.5], [20.0, 18.0]], [[[6.0, 8.0]], [[16.0, 16.0], [24.0, 12.0]]], [4, 16]
    laid = []
    for shapes, stride in zip(anchors, strides, strict=True):
        centre = torch.arange(-64.0, 128, stride)
        grid = torch.stack(torch.meshgrid(centre, centre, indexing="ij"), -1).reshape(-1, 1, 2)
        half = torch.tensor(shapes) / 2
        laid.append(torch.cat([grid - half, grid + half], -1).reshape(-1, 4))
    expected = []
    for w, h in wh:
        boxes = torch.tensor([[x - w / 2, y - h / 2, x + w / 2, y + h / 2] for x, y in places(64) * 16])
        expected.append(float((box_iou(boxes.float(), torch.cat(laid)).amax(1) >= 0.5).float().mean()))
    assert all(0 < share < 1 for share in expected[:2])
    np.testing.assert_allclose(anchor_recall(wh, anchors, strides), expected)


def test_usual_anchors_miss_small_boxes_and_fitted_ones_do_not() -> None:
    wh = np.random.default_rng(2).uniform(5, 12, (500, 2))
    usual, fitted = [[[32.0, 32.0]]], fit_anchors(wh, 1, 3)
    assert anchor_recall(wh, usual, [4]).max() == 0
    told = recall_by_size(wh, anchor_recall(wh, fitted, [4]))
    assert [(reach.low, reach.high) for reach in told] == [(0, 8), (8, 16)]
    assert sum(reach.boxes for reach in told) == 500
    assert min(reach.recall for reach in told) > 0.75


def test_typical_shapes_stand_for_all() -> None:
    wh = np.random.default_rng(3).lognormal(3, 0.5, (5000, 2))
    some = typical_shapes(wh)
    assert some.shape == (300, 2)
    deciles = np.arange(0.1, 1, 0.1)
    np.testing.assert_allclose(np.quantile(some.prod(1), deciles), np.quantile(wh.prod(1), deciles), rtol=0.05)
    np.testing.assert_array_equal(typical_shapes(wh[:2]), np.round(wh[:2][np.argsort(wh[:2].prod(1))], 2))


def test_a_spec_keeps_them() -> None:
    spec = DataSpec.of("boxes", ("a",), 1, (8, 8), boxes=((3.0, 4.0), (5.0, 6.5)))
    plain = spec.to_dict()
    assert plain["boxes"] == [[3.0, 4.0], [5.0, 6.5]]
    assert DataSpec.from_dict(plain) == spec
