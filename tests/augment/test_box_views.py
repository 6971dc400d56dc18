"""Views of images whose boxes are mapped back: pixels and boxes move alike, and what all views show is one box."""

from __future__ import annotations

import pytest
import torch

from medtrain.augment import BoxViews
from medtrain.core.box_fusion import fuse_detections
from medtrain.core.boxes import Detections, moved


def test_boxes_lie_where_the_pixels_went_and_come_back() -> None:
    x_BCHW = torch.zeros(1, 1, 60, 80)
    box_14 = torch.tensor([[20.0, 10, 50, 30]])
    x_BCHW[..., 10:30, 20:50] = 1
    views = list(BoxViews(8, True, True)(x_BCHW))
    assert len(views) == 8 and views[0][0] is x_BCHW
    shapes, flips = set(), set()
    for view_BCHW, place in views:
        there_14 = moved(box_14, place)
        assert (there_14[:, 2:] > there_14[:, :2]).all()
        y, x = (view_BCHW[0, 0] > 0.5).nonzero().unbind(1)
        seen = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()
        assert (there_14[0] - seen).abs().max() <= 1
        torch.testing.assert_close(moved(there_14, place, back=True), box_14)
        shapes.add(tuple(view_BCHW.shape[2:]))
        flips.add((bool(place[0] < 0), bool(place[1] < 0)))
    assert len(shapes) == 8 and len(flips) == 4
    assert all(48 <= height <= 72 and 64 <= width <= 96 for height, width in shapes)


def test_no_flips_where_training_has_none_and_fewer_views_are_the_first_of_more() -> None:
    x_BCHW = torch.rand(2, 3, 16, 24)
    few, many = (list(BoxViews(number)(x_BCHW)) for number in (3, 6))
    assert all((place[:2] > 0).all() for _, place in many)
    for (view, place), (other, there) in zip(few, many, strict=False):
        assert torch.equal(view, other) and torch.equal(place, there)


def test_what_one_of_two_views_shows_scores_half() -> None:
    def found(*rows: list[float]) -> Detections:
        table = torch.tensor(rows)
        return Detections(table[:, :4], table[:, 4], table[:, 5].long(), table[:, 6].long())

    seen = found([0, 0, 10, 10, 0.8, 0, 1], [40, 40, 50, 50, 0.6, 1, 0]), found([0, 0, 10, 10, 0.4, 0, 1])
    fused = fuse_detections(seen)
    assert fused.image_N.tolist() == [0, 1] and fused.labels_N.tolist() == [1, 0]
    assert fused.scores_N.tolist() == pytest.approx([0.3, 0.6])
    assert fused.boxes_N4.dtype == torch.float32 and fused.labels_N.dtype == torch.int64
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), torch.zeros(0).long())
    assert len(fuse_detections([none, none]).scores_N) == 0
