"""Overlap against torchvision, coding there and back, suppression."""

from __future__ import annotations

import pytest
import torch
from torchvision import ops

from medtrain.core.boxes import Detections, area, decode, encode, grid_points, iou, moved, suppress


def boxes(n: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    corner, side = (torch.rand(n, 2, generator=draw) * 100 for _ in range(2))
    return torch.cat([corner, corner + side + 1], 1)


@pytest.mark.parametrize(
    ("kind", "pairwise"),
    [("iou", ops.box_iou), ("giou", ops.generalized_box_iou), ("ciou", ops.complete_box_iou)],
)
def test_overlap_is_torchvisions(kind: str, pairwise: object) -> None:
    a, b = boxes(20, 0), boxes(30, 1)
    torch.testing.assert_close(iou(a[:, None], b, kind), pairwise(a, b), atol=1e-5, rtol=1e-5)  # type: ignore[operator]
    torch.testing.assert_close(iou(a, b[:20], kind), pairwise(a, b[:20]).diagonal(), atol=1e-5, rtol=1e-5)  # type: ignore[operator]


def test_overlap_by_hand() -> None:
    a, b = torch.tensor([0.0, 0, 10, 10]), torch.tensor([5.0, 0, 15, 10])
    assert iou(a, b).item() == pytest.approx(50 / 150)
    assert iou(a, b, "giou").item() == pytest.approx(50 / 150)  # the hull is the union
    assert iou(a, b, "ciou").item() == pytest.approx(50 / 150 - 25 / (15**2 + 10**2))
    assert iou(a, torch.tensor([20.0, 20, 30, 30])).item() == 0
    assert area(torch.tensor([[3.0, 3, 2, 9]])).item() == 0
    with pytest.raises(ValueError, match="diou"):
        iou(a, b, "diou")


def test_overlap_has_gradients_where_boxes_are_equal_or_apart() -> None:
    for kind in ("giou", "ciou"):
        a = torch.tensor([[0.0, 0, 4, 4], [50, 50, 60, 60]], requires_grad=True)
        (1 - iou(a, torch.tensor([[0.0, 0, 4, 4], [0, 0, 10, 10]]), kind)).sum().backward()
        assert torch.isfinite(a.grad).all() and a.grad[1].abs().sum() > 0  # type: ignore[union-attr, index]


def test_coding_goes_there_and_back_in_half_precision_too() -> None:
    points, stride = grid_points([(8, 10), (4, 5)], [8, 16], torch.device("cpu"))
    assert points[0].tolist() == [4, 4] and points[1].tolist() == [12, 4] and points[80].tolist() == [8, 8]
    assert stride[79] == 8 and stride[80] == 16 and len(points) == 100
    some = boxes(100, 2)
    torch.testing.assert_close(decode(encode(some, points, stride), points, stride), some, atol=1e-3, rtol=1e-4)
    assert decode(torch.full((100, 4), 300.0, dtype=torch.bfloat16), points, stride).isfinite().all()


def test_suppression_keeps_classes_and_images_apart() -> None:
    box = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
    found = Detections(
        box, torch.tensor([0.5, 0.9, 0.8, 0.7, 0.6]), torch.tensor([0, 0, 1, 0, 0]), torch.tensor([1, 1, 1, 0, 1])
    )
    kept = suppress(found, 0.5, 10)
    assert kept.image_N.tolist() == [0, 1, 1, 1]
    assert kept.scores_N.tolist() == pytest.approx([0.7, 0.9, 0.8, 0.6])
    assert suppress(found, 0.5, 2).scores_N.tolist() == pytest.approx([0.7, 0.9, 0.8])
    nothing = found.take(torch.zeros(5, dtype=torch.bool))
    assert len(suppress(nothing, 0.5, 10).scores_N) == 0


def test_to_the_originals_and_back() -> None:
    place = torch.tensor([[0.5, 0.25, 3.0, 7.0]]).expand(6, 4)
    some = boxes(6, 3)
    assert moved(torch.tensor([[2.0, 4, 6, 8]]), place[:1]).tolist() == [[4, 8, 6, 9]]
    torch.testing.assert_close(moved(moved(some, place), place, back=True), some, atol=1e-4, rtol=1e-5)
