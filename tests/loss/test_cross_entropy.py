"""Cross-entropy against torch's own, with unknown labels."""

import pytest
import torch
import torch.nn.functional as F

from medtrain.core.errors import UsageError
from medtrain.loss import BinaryCrossEntropy, cross_entropy
from medtrain.target import DataSpec

NAN = float("nan")
MULTICLASS = DataSpec.of("multiclass", ("a", "b", "c"), 1)
MULTILABEL = DataSpec.of("multilabel", ("a", "b"), 1)
BINARY = DataSpec.of("binary", ("a", "b"), 1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_multiclass_equals_torch(smoothing):
    loss, logits, y = cross_entropy(MULTICLASS, smoothing), torch.randn(5, 3), torch.tensor([0, 2, -1, 1, -100])
    known = y >= 0
    torch.testing.assert_close(loss(logits, y), F.cross_entropy(logits[known], y[known], label_smoothing=smoothing))
    torch.testing.assert_close(loss(logits[:2], y[:2]), F.cross_entropy(logits[:2], y[:2], label_smoothing=smoothing))


def test_multilabel_equals_torch_on_what_is_known():
    logits = torch.randn(3, 2)
    y = torch.tensor([[0.0, NAN], [1.0, 1.0], [NAN, 0.0]])
    known = ~y.isnan()
    expected = F.binary_cross_entropy_with_logits(logits[known], y[known])
    torch.testing.assert_close(cross_entropy(MULTILABEL)(logits, y), expected)
    smooth = F.binary_cross_entropy_with_logits(logits[known], y[known] * 0.8 + 0.1)
    torch.testing.assert_close(cross_entropy(MULTILABEL, 0.2)(logits, y), smooth)


def test_binary_by_hand():
    loss = cross_entropy(BINARY)
    assert isinstance(loss, BinaryCrossEntropy)
    got = loss(torch.tensor([[0.0], [torch.log(torch.tensor(3.0))]]), torch.tensor([[1.0], [1.0]]))
    torch.testing.assert_close(got, (torch.log(torch.tensor(2.0)) + torch.log(torch.tensor(4 / 3))) / 2)
    with pytest.raises(ValueError, match="size"):
        loss(torch.randn(4, 1), torch.ones(4))


@pytest.mark.parametrize(
    ("spec", "y"),
    [(MULTICLASS, torch.tensor([-1, -1])), (MULTILABEL, torch.full((2, 2), NAN)), (BINARY, torch.full((2, 1), NAN))],
)
def test_nothing_known_is_zero_with_a_gradient(spec, y):
    logits = torch.randn(2, spec.n_logits, requires_grad=True)
    loss = cross_entropy(spec, 0.1)(logits, y)
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("spec", [MULTICLASS, MULTILABEL])
def test_unknown_labels_get_no_gradient(spec):
    logits = torch.randn(2, spec.n_logits, requires_grad=True)
    y = torch.tensor([-1, 1]) if spec is MULTICLASS else torch.tensor([[NAN, NAN], [1.0, 0.0]])
    cross_entropy(spec)(logits, y).backward()
    assert not logits.grad[0].any() and logits.grad[1].all()


def test_half_precision_is_computed_in_full():
    logits = torch.randn(4, 3).bfloat16()
    got = cross_entropy(MULTICLASS)(logits, torch.tensor([0, 1, 2, 0]))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, F.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 0])))
    assert cross_entropy(MULTILABEL)(logits[:, :2], torch.ones(4, 2)).dtype == torch.float32


def test_refusals():
    with pytest.raises(UsageError, match="label_smoothing"):
        cross_entropy(BINARY, 1.0)
    with pytest.raises(UsageError, match="detector"):
        cross_entropy(DataSpec.of("boxes", ("a",), 1))
