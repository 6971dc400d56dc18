"""Focal loss against torchvision's, against cross-entropy where gamma is 0, and by hand."""

import math

import numpy as np
import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from medtrain.core.errors import UsageError
from medtrain.loss import cross_entropy, focal
from medtrain.target import DataSpec, LabelCounts

NAN = float("nan")
BINARY = DataSpec.of("binary", ("a", "b"), 1)
MULTICLASS = DataSpec.of("multiclass", ("a", "b", "c"), 1)
MULTILABEL = DataSpec.of("multilabel", ("a", "b"), 1)
SPECS = [BINARY, MULTICLASS, MULTILABEL]


def batch(spec, n=6):
    logits = 3 * torch.randn(n, spec.n_logits)
    y = torch.randint(3, (n,)) if spec is MULTICLASS else torch.randint(2, (n, spec.n_logits)).float()
    return logits, y


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("spec", SPECS)
def test_gamma_zero_is_cross_entropy_exactly(spec, smoothing):
    logits, y = batch(spec)
    y[0] = -1 if spec is MULTICLASS else NAN
    got = focal(spec, gamma=0.0, label_smoothing=smoothing)(logits, y)
    assert torch.equal(got, cross_entropy(spec, smoothing)(logits, y))


@pytest.mark.parametrize("alpha", [None, 0.25, 0.9])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("spec", [BINARY, MULTILABEL])
def test_sigmoid_equals_torchvision(spec, gamma, alpha):
    logits, y = batch(spec)
    expected = sigmoid_focal_loss(logits, y, -1 if alpha is None else alpha, gamma, reduction="mean")
    torch.testing.assert_close(focal(spec, gamma=gamma, alpha=alpha)(logits, y), expected)
    more = torch.cat([y, torch.full_like(y[:1], NAN)])
    torch.testing.assert_close(focal(spec, gamma=gamma, alpha=alpha)(torch.cat([logits, logits[:1]]), more), expected)


def test_softmax_by_hand_and_weights_stay_out_of_p_t():
    logits = torch.tensor([[math.log(2.0), 0.0, 0.0], [0.0, 0.0, 0.0]])  # p_t 1/2 and 1/3
    y, alpha = torch.tensor([0, 2]), [0.5, 1.0, 3.0]
    expected = (0.5 * (1 / 2) ** 2 * math.log(2) + 3.0 * (2 / 3) ** 2 * math.log(3)) / 2
    assert focal(MULTICLASS, gamma=2.0, alpha=alpha)(logits, y).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [2, 3])  # as many cases as classes, too
def test_one_alpha_a_class(n):
    logits, y = batch(MULTILABEL, n)
    expected = [sigmoid_focal_loss(logits[:, k], y[:, k], a, 2, "mean") for k, a in ((0, 0.2), (1, 0.7))]
    torch.testing.assert_close(focal(MULTILABEL, alpha=[0.2, 0.7])(logits, y), torch.stack(expected).mean())
    logits, y = batch(BINARY, n)
    expected = torch.where(y == 1, 0.9, 0.3) * sigmoid_focal_loss(logits, y, -1, 2)
    torch.testing.assert_close(focal(BINARY, alpha=[0.3, 0.9])(logits, y), expected.mean())


def test_auto_comes_from_the_counts():
    counts = LabelCounts(np.array([90, 10]), np.array([10, 90]), np.zeros(2, int))
    logits, y = batch(BINARY)
    torch.testing.assert_close(focal(BINARY, counts, alpha="auto")(logits, y), focal(BINARY, alpha=0.9)(logits, y))
    logits, y = batch(MULTILABEL)
    expected = focal(MULTILABEL, alpha=[0.1, 0.9])(logits, y)
    torch.testing.assert_close(focal(MULTILABEL, counts, alpha="auto")(logits, y), expected)
    counts = LabelCounts(np.array([6, 3, 0]), np.array([3, 6, 9]), np.zeros(3, int))
    logits, y = batch(MULTICLASS)
    expected = focal(MULTICLASS, alpha=[0.75, 1.5, 4.5])(logits, y)  # the absent class as if it occurred once
    torch.testing.assert_close(focal(MULTICLASS, counts, alpha="auto")(logits, y), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("spec", SPECS)
def test_gradients_are_finite_for_certain_logits_and_zero_for_unknown_labels(spec, gamma):
    logits, y = batch(spec, 3)
    logits = (logits * 1e4).requires_grad_()
    y[0] = -1 if spec is MULTICLASS else NAN
    focal(spec, gamma=gamma)(logits, y).backward()
    assert torch.isfinite(logits.grad).all() and not logits.grad[0].any()
    unknown = torch.full_like(y, -1 if spec is MULTICLASS else NAN)
    assert focal(spec, gamma=gamma)(logits, unknown).item() == 0


def test_half_precision_is_computed_in_full():
    logits, y = batch(MULTICLASS)
    torch.testing.assert_close(focal(MULTICLASS)(logits.bfloat16(), y), focal(MULTICLASS)(logits.bfloat16().float(), y))


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        (BINARY, {"gamma": -1.0}),
        (BINARY, {"gamma": NAN}),
        (BINARY, {"alpha": 1.5}),
        (BINARY, {"alpha": "atuo"}),
        (BINARY, {"alpha": "auto"}),
        (MULTICLASS, {"alpha": 0.25}),
        (MULTICLASS, {"alpha": [1.0, 2.0]}),
        (MULTILABEL, {"alpha": [0.5, "x"]}),
        (MULTILABEL, {"label_smoothing": 1.0}),
        (DataSpec.of("boxes", ("a",), 1), {}),
    ],
)
def test_refusals(spec, given):
    with pytest.raises(UsageError, match="loss"):
        focal(spec, **given)
