"""Segment operations against torch on each segment alone."""

import pytest
import torch
from torch import Tensor

from medtrain.core import segments

LENGTHS = [3, 1, 5]
OFFSETS = segments.segment_offsets(LENGTHS)


def rows(*more: int, scale: float = 1.0) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return (torch.randn(9, *more, generator=draw, dtype=torch.float64) * scale).requires_grad_()


REFERENCE = {
    segments.segment_sum: lambda part: part.sum(0, keepdim=True),
    segments.segment_max: lambda part: part.amax(0, keepdim=True),
    segments.segment_softmax: lambda part: part.softmax(0),
    segments.segment_logsumexp: lambda part: part.logsumexp(0, keepdim=True),
}


@pytest.mark.parametrize("operation", REFERENCE)
@pytest.mark.parametrize("more", [(), (4,), (2, 3)])
def test_values_and_gradients_are_those_of_each_segment_alone(operation, more) -> None:  # type: ignore[no-untyped-def]
    x = rows(*more)
    found = operation(x, OFFSETS)
    expected = torch.cat([REFERENCE[operation](part) for part in x.split(LENGTHS)])
    torch.testing.assert_close(found, expected)
    weights = torch.rand_like(found)
    torch.testing.assert_close(
        torch.autograd.grad((found * weights).sum(), x)[0], torch.autograd.grad((expected * weights).sum(), x)[0]
    )


def test_ranks_are_those_of_each_segment_alone_and_equal_values_stay_in_order() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (9, 4), generator=draw).float()
    alone = [part.argsort(dim=0, descending=True, stable=True).argsort(0) for part in x.split(LENGTHS)]
    assert torch.equal(segments.segment_ranks(x, OFFSETS), torch.cat(alone))
    assert torch.equal(segments.segment_ranks(x[:, 0], OFFSETS), torch.cat(alone)[:, 0])


def test_a_softmax_of_huge_scores_is_finite() -> None:
    weights = segments.segment_softmax(rows(scale=1e30).float(), OFFSETS)
    assert torch.isfinite(weights).all()
    torch.testing.assert_close(segments.segment_sum(weights, OFFSETS), torch.ones(3))
    assert torch.isfinite(segments.segment_logsumexp(rows(scale=1e30).float(), OFFSETS)).all()


def test_a_segment_of_low_scores_does_not_vanish_beside_one_of_high_scores() -> None:
    weights = segments.segment_softmax(torch.tensor([1e4, 1e4, -1e4, -1e4]), torch.tensor([0, 2, 4]))
    assert weights.tolist() == [0.5] * 4


@pytest.mark.parametrize(
    ("offsets", "told"),
    [([0, 3, 3, 9], "segment 1 is empty"), ([0, 3, 8], "0 to 8"), ([1, 3, 9], "1 to 9"), ([0, 5, 4, 9], "segment 1")],
)
def test_offsets_that_do_not_fit_are_refused(offsets: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        segments.segment_sum(rows(2), torch.tensor(offsets))


def test_a_segments_result_does_not_depend_on_the_others() -> None:
    x = rows(4)
    alone = segments.segment_softmax(x[:3], torch.tensor([0, 3]))
    torch.testing.assert_close(segments.segment_softmax(x, OFFSETS)[:3], alone, rtol=0, atol=1e-15)
