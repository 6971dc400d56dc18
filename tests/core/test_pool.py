"""Pooling instances to cases, against values worked by hand."""

import pytest
import torch

from medtrain.core.pool import pool_cases

PROBS = torch.tensor([[0.2], [0.5], [0.9], [0.1]])
CASES = torch.tensor([7, 3, 7, 3])


@pytest.mark.parametrize(
    ("how", "expected"),
    [("mean", [0.3, 0.55]), ("max", [0.5, 0.9]), ("noisy_or", [1 - 0.5 * 0.9, 1 - 0.8 * 0.1])],
)
def test_hand_worked(how: str, expected: list[float]) -> None:
    pooled, cases = pool_cases(PROBS, CASES, how)
    assert cases.tolist() == [3, 7]
    assert pooled[:, 0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("how", ["mean", "max", "noisy_or"])
def test_order_does_not_matter(how: str) -> None:
    order = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(pool_cases(PROBS, CASES, how)[0], pool_cases(PROBS[order], CASES[order], how)[0])


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="median"):
        pool_cases(PROBS, CASES, "median")
