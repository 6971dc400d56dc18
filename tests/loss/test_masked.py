"""Means over what is known: of two processes that know unequally much, as of one with all the cases."""

from __future__ import annotations

import pytest
import torch

from medtrain.loss import masked
from medtrain.loss.masked import masked_mean


@pytest.mark.parametrize("weighted", [False, True])
def test_two_processes_learn_as_one(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([[1.0, 4.0, 9.0], [2.0, 8.0, 3.0], [5.0, 7.0, 6.0], [1.0, 1.0, 2.0]], requires_grad=True)
    known = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    weights = torch.tensor([[2.0], [1.0], [0.5], [3.0]]).expand(4, 3) if weighted else None

    def mean_of(rows: slice) -> torch.Tensor:
        own = None if weights is None else weights[rows]
        return masked_mean(values[rows] if own is None else values[rows] * own, known[rows], own)

    whole = mean_of(slice(None))
    (expected,) = torch.autograd.grad(whole, values)
    by_hand = [14 + 10 + 6, 6] if weights is None else [14 * 2 + 10 + 6 * 0.5, 3 * 2 + 2 + 0.5]
    assert whole.item() == pytest.approx(by_hand[0] / by_hand[1])
    totals = [known[rows].sum() if weights is None else (known * weights)[rows].sum() for rows in HALVES]
    monkeypatch.setattr(masked.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(masked.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(masked.dist, "all_reduce", lambda mean: mean.copy_(sum(totals)))
    parts = [mean_of(rows) for rows in HALVES]
    assert sum(parts).item() / 2 == pytest.approx(whole.item())
    (given,) = torch.autograd.grad(sum(parts) / 2, values)
    torch.testing.assert_close(given, expected)
    with torch.no_grad():  # evaluation counts each process by itself: they need not have equally many batches
        assert mean_of(HALVES[1]).item() == pytest.approx(6.0)


HALVES = (slice(0, 2), slice(2, 4))
