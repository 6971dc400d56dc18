"""Augmentation of boxes: they stay where their lesion is, whatever happens to the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medtrain.augment import AugmentBoxes, Identity
from medtrain.core.errors import UsageError

OFF = {"scale": 0.0, "translate": 0.0, "brightness": 0.0, "contrast": 0.0, "noise": 0.0}
Batch = dict[str, Tensor]


def batch(count: int = 24, height: int = 64, width: int = 96) -> Batch:
    """Images with up to three bright rectangles, the boxes around them."""
    draw = torch.Generator().manual_seed(0)
    x = torch.zeros(count, 1, height, width)
    boxes, image = [], []
    for row in range(count):
        for part in range(row % 4):
            left, top = (
                part * 32 + int(torch.randint(2, 8, (), generator=draw)),
                int(torch.randint(2, 40, (), generator=draw)),
            )
            wide, high = (int(torch.randint(8, 16, (), generator=draw)) for _ in range(2))
            x[row, :, top : top + high, left : left + wide] = 0.5 + 0.1 * part
            boxes.append([left, top, left + wide, top + high])
            image.append(row)
    return {
        "x": x,
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.arange(len(boxes)) % 3,
        "image": torch.tensor(image),
        "case": torch.arange(100, 100 + count),
        "place": torch.tensor([[1.0, 1, 0, 0]]).repeat(count, 1),
    }


def levels(x_HW: Tensor, box: Tensor) -> tuple[float, float]:
    """Grey values within a box (mean, one pixel in) and around it (greatest, one to three pixels out)."""
    (x0, y0), (x1, y1) = box[:2].floor().long().tolist(), box[2:].ceil().long().tolist()
    inner = x_HW[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2]
    around = x_HW.clone()
    around[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = 0
    return float(inner.mean()), float(around[max(y0 - 3, 0) : y1 + 3, max(x0 - 3, 0) : x1 + 3].max())


CHANGES = [
    {"scale": 0.3},
    {"translate": 0.3},
    {"crop": 1.0, "zoom": 2.0},
    {"flip_horizontal": True, "flip_vertical": True},
    {"scale": 0.4, "translate": 0.2, "crop": 0.5, "zoom": 1.5, "flip_horizontal": True},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: "+".join(c))
def test_boxes_stay_on_their_lesions(change: dict[str, float]) -> None:
    before = batch()
    out = AugmentBoxes(**{**OFF, **change})(before, 1, 3)
    assert not torch.equal(out["x"], before["x"])
    seen = 0
    for box, row in zip(out["boxes"], out["image"], strict=True):
        if (box[2:] - box[:2]).min() < 6:
            continue  # too thin at the edge to look into
        inner, outer = levels(out["x"][row, 0], box)
        assert inner == pytest.approx(round(inner, 1), abs=0.02) and inner > 0.45
        assert outer < 0.2
        seen += 1
    assert seen > 15


def test_every_image_keeps_a_lesion_however_hard_it_is_cropped() -> None:
    before = batch()
    for epoch in range(5):
        out = AugmentBoxes(**OFF, crop=1.0, zoom=6.0)(before, 0, epoch)
        whole = (before["boxes"][:, 2:] - before["boxes"][:, :2]).prod(1)
        for row in range(24):
            assert bool((out["image"] == row).any()) == bool((before["image"] == row).any())
        assert (out["boxes"][:, 2:] - out["boxes"][:, :2]).prod(1).sum() > whole.sum() / 2
        assert len(out["boxes"]) < len(before["boxes"])


def test_boxes_that_leave_are_cut_or_dropped_by_the_share_that_is_left() -> None:
    out = AugmentBoxes(**{**OFF, "translate": 0.5}, min_visible=0.5)(batch(), 4, 0)
    boxes = out["boxes"]
    assert boxes.min() >= 0 and boxes[:, [0, 2]].max() <= 96 and boxes[:, [1, 3]].max() <= 64
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    original = batch()["boxes"]
    smallest = (original[:, 2:] - original[:, :2]).prod(1).min()
    assert area.min() >= 0.5 * smallest
    assert (area < smallest * 4).any()


def test_the_same_whatever_the_batch_mates_and_again_in_another_process() -> None:
    whole, augment = batch(), AugmentBoxes(crop=0.5, flip_horizontal=True)
    out = augment(whole, 7, 2)
    torch.manual_seed(5)
    rows = [9, 6]
    keep = torch.isin(whole["image"], torch.tensor(rows))
    order = torch.cat([torch.nonzero(whole["image"] == row)[:, 0] for row in rows])
    assert keep.sum() == len(order)
    some = {key: whole[key][rows] for key in ("x", "case", "place")}
    some |= {key: whole[key][order] for key in ("boxes", "labels")}
    some["image"] = torch.tensor([0] * int((whole["image"] == 9).sum()) + [1] * int((whole["image"] == 6).sum()))
    part = augment(some, 7, 2)
    for at, row in enumerate(rows):
        assert torch.equal(part["x"][at], out["x"][row])
        torch.testing.assert_close(part["boxes"][part["image"] == at], out["boxes"][out["image"] == row])
    other = augment(whole, 7, 3)
    assert not torch.equal(other["x"], out["x"])


def test_repeats_of_a_case_and_its_tiles_differ() -> None:
    one = {key: value[:1].repeat(4, *[1] * (value.ndim - 1)) for key, value in batch().items() if key in ("x", "case")}
    one |= {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "image": torch.zeros(0).long()}
    one["x"] = torch.rand(1, 1, 16, 16).repeat(4, 1, 1, 1)
    out = AugmentBoxes()({**one, "instance": torch.tensor([0, 0, 1, 1]), "draw": torch.tensor([0, 1, 0, 0])}, 0, 0)
    assert all(not torch.equal(out["x"][a], out["x"][b]) for a in range(4) for b in range(a))


def test_mosaic_holds_four_images_and_their_boxes() -> None:
    before = batch(8, 64, 96)
    out = AugmentBoxes(**OFF, mosaic=1.0)(before, 0, 0)
    assert len(out["boxes"]) == 4 * len(before["boxes"])
    assert (out["image"].diff() >= 0).all()
    for box, row in zip(out["boxes"], out["image"], strict=True):
        x, y = ((box[:2] + box[2:]) / 2).long().tolist()
        assert out["x"][row, 0, y, x] > 0.4
    some = AugmentBoxes(**OFF, mosaic=0.5)(before, 0, 0)
    same = [torch.allclose(some["x"][row], before["x"][row], atol=1e-5) for row in range(8)]
    assert 0 < sum(same) < 8
    for row in range(8):
        if same[row]:
            torch.testing.assert_close(some["boxes"][some["image"] == row], before["boxes"][before["image"] == row])


def test_nothing_switched_on_changes_nothing() -> None:
    before = batch()
    out = AugmentBoxes(**OFF)(before, 0, 0)
    torch.testing.assert_close(out["x"], before["x"], atol=1e-5, rtol=0)
    torch.testing.assert_close(out["boxes"], before["boxes"])
    assert "place" not in out and "place" in before
    assert Identity()(before, 0, 0) is before


def test_what_cannot_be_is_refused() -> None:
    for wrong in ({"scale": 1.0}, {"crop": 1.5}, {"zoom": 0.5}, {"mosaic": -0.1}):
        with pytest.raises(UsageError, match=f"augment.{next(iter(wrong))}"):
            AugmentBoxes(**wrong)
    with pytest.raises(TypeError, match="floating point"):
        AugmentBoxes()({**batch(), "x": torch.zeros(24, 1, 4, 4, dtype=torch.uint8)}, 0, 0)
