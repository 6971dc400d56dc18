"""Weights by hand and by scikit-learn; weighted losses against torch's own."""

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from medtrain.core.errors import UsageError
from medtrain.loss import balanced_cross_entropy, class_weights, cross_entropy, positive_weights
from medtrain.target import DataSpec, LabelCounts
from tests.metric.by_kind import count_labels

NAN = float("nan")
BINARY = DataSpec.of("binary", ("a", "b"), 1)
MULTICLASS = DataSpec.of("multiclass", ("a", "b", "c"), 1)
MULTILABEL = DataSpec.of("multilabel", ("a", "b"), 1)


def counted(positive, negative=None):
    negative = negative or [sum(positive) - n for n in positive]
    return LabelCounts(np.array(positive), np.array(negative), np.zeros(len(positive), int))


def test_inverse_is_scikit_learns_balanced():
    y = np.repeat([0, 1, 2, 3], [950, 30, 15, 5])
    counts = count_labels("multiclass", 4, y)
    np.testing.assert_allclose(class_weights(counts), compute_class_weight("balanced", classes=np.arange(4), y=y))
    for scheme in ("sqrt_inverse", "effective_number"):
        assert (class_weights(counts, scheme) * counts.positive).sum() == pytest.approx(1000)


def test_schemes_by_hand():
    counts = counted([4, 1], [1, 4])
    np.testing.assert_allclose(positive_weights(counts), [0.25, 4])
    np.testing.assert_allclose(positive_weights(counts, "sqrt_inverse"), [0.5, 2])
    effective = (1 - 0.5**4) / 0.5  # Cui et al., eq. 2; that of one case is 1
    np.testing.assert_allclose(positive_weights(counts, "effective_number", beta=0.5), [1 / effective, effective])
    np.testing.assert_allclose(positive_weights(counts, "effective_number", beta=0.0), [1, 1])
    np.testing.assert_allclose(
        positive_weights(counts, "effective_number", beta=1 - 1e-9), positive_weights(counts), rtol=1e-6
    )


def test_an_absent_class_weighs_as_one_case():
    weights = class_weights(counted([90, 10, 0]))
    assert weights[2] == pytest.approx(10 * weights[1]) and np.isfinite(weights).all()
    np.testing.assert_allclose(positive_weights(counted([0, 5], [100, 0])), [100, 1 / 5])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("n", [3, 7])  # as many cases as classes: a weight taken by case would not fail, but be wrong
def test_multiclass_equals_torch(n, smoothing):
    counts = counted([80, 15, 5])
    weight = torch.tensor(class_weights(counts), dtype=torch.float32)
    logits, y = torch.randn(n, 3), torch.tensor([2, 2, 0, 1, 0, 0, 1][:n])
    loss = balanced_cross_entropy(MULTICLASS, counts, label_smoothing=smoothing)
    expected = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(loss(logits, y), expected(logits, y))
    torch.testing.assert_close(
        loss(torch.cat([logits, torch.randn(2, 3)]), torch.cat([y, torch.tensor([-1, -100])])), expected(logits, y)
    )


def test_multiclass_by_hand():
    loss = balanced_cross_entropy(MULTICLASS, counted([2, 1, 1]))  # weights 2/3, 4/3, 4/3
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, math.log(4), 0.0]])  # the true classes' probabilities: 1/3 and 4/6
    expected = (2 * math.log(3) + 4 * math.log(1.5)) / 6
    assert loss(logits, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("spec", [BINARY, MULTILABEL])
def test_sigmoid_equals_torch(spec):
    counts = counted([90, 10], [10, 90]) if spec is BINARY else counted([10, 50], [90, 50])
    pos_weight = torch.tensor([9.0]) if spec is BINARY else torch.tensor([9.0, 1.0])
    logits, y = torch.randn(4, spec.n_logits), torch.randint(2, (4, spec.n_logits)).float()
    loss = balanced_cross_entropy(spec, counts)
    torch.testing.assert_close(loss(logits, y), nn.BCEWithLogitsLoss(pos_weight=pos_weight)(logits, y))
    more = torch.cat([y, torch.full((1, spec.n_logits), NAN)])
    torch.testing.assert_close(loss(torch.cat([logits, logits[:1]]), more), loss(logits, y))


@pytest.mark.parametrize("spec", [BINARY, MULTICLASS, MULTILABEL])
def test_equal_counts_are_the_plain_loss(spec):
    n = len(spec.classes)
    counts = LabelCounts(np.full(n, 6), np.full(n, 6), np.zeros(n, int))
    logits = torch.randn(5, spec.n_logits, requires_grad=True)
    y = torch.tensor([0, 1, 2, -1, 1]) if spec is MULTICLASS else torch.randint(2, (5, spec.n_logits)).float()
    torch.testing.assert_close(balanced_cross_entropy(spec, counts)(logits, y), cross_entropy(spec)(logits, y))
    unknown = torch.full_like(y, -1) if spec is MULTICLASS else torch.full_like(y, NAN)
    nothing = balanced_cross_entropy(spec, counts)(logits, unknown)
    nothing.backward()
    assert nothing.item() == 0 and not logits.grad.any()


def test_weights_are_not_saved_and_double_precision_works():
    loss = balanced_cross_entropy(MULTICLASS, counted([8, 1, 1]))
    assert not loss.state_dict()
    assert loss(torch.randn(2, 3).double(), torch.tensor([0, 1])).dtype == torch.float64


def test_refusals():
    with pytest.raises(UsageError, match="counts"):
        balanced_cross_entropy(BINARY)
    with pytest.raises(UsageError, match="inverse, sqrt_inverse"):
        balanced_cross_entropy(BINARY, counted([1, 1]), "inverted")
    with pytest.raises(UsageError, match="beta"):
        balanced_cross_entropy(BINARY, counted([1, 1]), "effective_number", beta=1.0)
