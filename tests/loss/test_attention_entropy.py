"""Entropy of attention against scipy's, and its limits."""

import pytest
import torch
from scipy.stats import entropy

from medtrain.core.segments import segment_softmax
from medtrain.loss.attention_entropy import attention_entropy

OFFSETS = torch.tensor([0, 4, 5, 12])


def test_as_scipy_has_it() -> None:
    weights = segment_softmax(torch.randn(12, generator=torch.Generator().manual_seed(0)), OFFSETS)
    found = attention_entropy(weights, OFFSETS)
    expected = [entropy(part.numpy(), base=len(part)) if len(part) > 1 else 0.0 for part in weights.split([4, 1, 7])]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_one_where_even_nothing_where_all_is_on_one_instance() -> None:
    weights = torch.tensor([0.25] * 4 + [1.0] + [0.0] * 6 + [1.0])
    assert attention_entropy(weights, OFFSETS).tolist() == pytest.approx([1, 0, 0], abs=1e-6)


def test_its_gradient_is_finite_where_a_weight_is_tiny() -> None:
    scores = torch.tensor([0.0, -80.0, 0.0, 0.0, 0.0] + [0.0] * 7, requires_grad=True)
    attention_entropy(segment_softmax(scores, OFFSETS), OFFSETS).sum().backward()
    assert scores.grad is not None and torch.isfinite(scores.grad).all()
