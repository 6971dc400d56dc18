"""Discrete-time hazards by hand, and against the logistic regression of person-periods that they are."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from medtrain.loss.hazards import HazardLikelihood


def test_by_hand():
    logits = torch.tensor([[0.3, -0.4, 1.0]]).double()
    h = [1 / (1 + math.exp(-v)) for v in (0.3, -0.4, 1.0)]
    loss = HazardLikelihood([1.0, 2.0, 4.0])
    wanted = {
        (1.5, 1): -math.log(1 - h[0]) - math.log(h[1]),
        (2.0, 1): -math.log(1 - h[0]) - math.log(h[1]),  # an interval holds its end
        (1.4, 0): -math.log(1 - h[0]),  # left before the middle of the second interval
        (1.6, 0): -math.log(1 - h[0]) - math.log(1 - h[1]),
        (9.0, 0): -sum(math.log(1 - p) for p in h),
        (9.0, 1): -sum(math.log(1 - p) for p in h),  # an event beyond the last interval
    }
    for y, value in wanted.items():
        assert float(loss(logits, torch.tensor([y]))) == pytest.approx(value, abs=1e-6), y


def test_is_the_cross_entropy_of_person_periods():
    draw = np.random.default_rng(0)
    cuts = np.array([1.0, 2, 3, 5, 8])
    logits, interval = torch.tensor(draw.normal(size=(30, 5))), draw.integers(0, 5, 30)
    event = draw.integers(0, 2, 30)
    y = torch.tensor(np.stack([cuts[interval], event], 1))  # followed to the end of an interval
    number = np.arange(5)
    at_risk = torch.tensor(number <= interval[:, None])
    label = torch.tensor((number == interval[:, None]) & (event[:, None] == 1)).double()
    wanted = binary_cross_entropy_with_logits(logits, label, reduction="none")[at_risk].sum() / 30
    assert float(HazardLikelihood(cuts.tolist())(logits, y)) == pytest.approx(float(wanted), abs=1e-6)


def test_unknown_cases_are_left_out_and_nothing_known_is_zero():
    loss, logits = HazardLikelihood([1.0, 2.0]), torch.randn(2, 2, requires_grad=True)
    half = loss(logits, torch.tensor([[1.0, 1.0], [math.nan, 1.0]]))
    assert float(half) == pytest.approx(float(loss(logits[:1], torch.tensor([[1.0, 1.0]]))))
    none = loss(logits, torch.full((2, 2), math.nan))
    none.backward()
    assert float(none) == 0 and not logits.grad.any()
