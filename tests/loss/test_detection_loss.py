"""Losses of detectors by hand, and against torchvision's focal loss."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from medtrain.core.boxes import Boxes, Raw, encode, grid_points
from medtrain.core.errors import UsageError
from medtrain.loss import DetectionLoss, OwnLoss
from medtrain.loss.detection import focal_sum

POINTS, STRIDE = grid_points([(8, 8)], [8], torch.device("cpu"))


def truth(*boxes: list[float]) -> Boxes:
    n = len(boxes)
    zeros = torch.zeros(n, dtype=torch.long)
    return Boxes(torch.tensor(boxes).reshape(n, 4), zeros, zeros)


def raw(logit: float = -4.0, size: float = 2.0) -> Raw:
    coded = torch.zeros(2, 64, 4)
    coded[..., 2:] = math.log(size)
    return Raw(torch.full((2, 64, 2), logit), coded, POINTS, STRIDE)


def test_background_that_is_surely_called_a_lesion_costs_much() -> None:
    p = 1 / (1 + math.exp(-6.9))
    cost = focal_sum(torch.tensor([6.9]), torch.tensor([0.0]), 2.0, 0.25)
    assert cost.item() == pytest.approx(-0.75 * p**2 * math.log(1 - p), rel=1e-4)
    assert cost.item() == pytest.approx(5.16, abs=0.01)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, None), (1.5, 0.75)])
def test_hard_targets_are_torchvisions(gamma: float, alpha: float | None) -> None:
    draw = torch.Generator().manual_seed(0)
    logits, target = torch.randn(200, generator=draw) * 4, (torch.rand(200, generator=draw) < 0.3).float()
    expected = sigmoid_focal_loss(logits, target, -1 if alpha is None else alpha, gamma, "sum")
    torch.testing.assert_close(focal_sum(logits, target, gamma, alpha), expected)
    torch.testing.assert_close(focal_sum(logits.bfloat16(), target, gamma, alpha), expected, rtol=0.02, atol=0.1)


def test_soft_targets_cost_nothing_but_their_entropy_where_they_are_met() -> None:
    target = torch.tensor([0.3])
    assert focal_sum(target.logit(), target, 2.0, None).item() < 1e-9
    assert focal_sum(target.logit() + 1, target, 2.0, None) > 0


def test_both_parts_fall_where_boxes_and_scores_get_better() -> None:
    loss, box = DetectionLoss(), truth([8.0, 8, 24, 24])
    far, near = loss(raw(size=6.0), box), loss(raw(size=2.0), box)
    assert near["box"] < far["box"]
    exact = raw()
    exact = exact._replace(coded_BA4=encode(box.boxes_M4.expand(2, 64, 4), POINTS, STRIDE))
    assert loss(exact, box)["box"].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("assign", ["task_aligned", "centre"])
def test_divided_by_positives_not_points_and_finite_without_boxes(assign: str) -> None:
    loss = DetectionLoss(assign=assign)
    one, none = raw(), truth()
    for part in (one.logits_BAC, one.coded_BA4):
        part.requires_grad_()
    parts = loss(one, none)
    assert parts["box"].item() == 0
    expected = focal_sum(one.logits_BAC, torch.zeros_like(one.logits_BAC), 2.0, None)
    torch.testing.assert_close(parts["class"], expected)  # a negative image counts, divided by 1
    sum(parts.values()).backward()
    assert torch.isfinite(one.logits_BAC.grad).all()  # type: ignore[arg-type]


def test_refuses_what_it_cannot_do() -> None:
    for wrong in ({"assign": "hungarian"}, {"box": "l1"}, {"gamma": -1.0}, {"alpha": 2.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            DetectionLoss(**wrong)  # type: ignore[arg-type]


def test_own_losses_are_handed_on() -> None:
    assert OwnLoss()({"class": torch.tensor(1.0)}, truth()) == {"class": torch.tensor(1.0)}
