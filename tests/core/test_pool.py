"""Pooling instances to cases, against values worked by hand and in more digits than numbers have."""

from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from medtrain.core.pool import POOLS, pool_cases

PROBS = torch.tensor([[0.2], [0.5], [0.9], [0.1]], dtype=torch.float64)
CASES = torch.tensor([7, 3, 7, 3])


@pytest.mark.parametrize(
    ("how", "expected"),
    [("mean", [0.3, 0.55]), ("max", [0.5, 0.9]), ("noisy_or", [1 - 0.5 * 0.9, 1 - 0.8 * 0.1])],
)
def test_hand_worked(how: str, expected: list[float]) -> None:
    pooled, cases = pool_cases(PROBS.logit(), CASES, how)
    assert cases.tolist() == [3, 7]
    assert pooled.sigmoid()[:, 0].tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("how", POOLS)
def test_order_does_not_matter(how: str) -> None:
    order, logits = torch.tensor([2, 0, 3, 1]), PROBS.logit()
    assert torch.allclose(pool_cases(logits, CASES, how)[0], pool_cases(logits[order], CASES[order], how)[0])


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="median"):
        pool_cases(PROBS, CASES, "median")


@pytest.mark.parametrize("patches", [1, 40, 400, 40_000])
@pytest.mark.parametrize("logit", [-30.0, -1.0, 0.0, 2.0, 50.0])
@pytest.mark.parametrize("how", POOLS)
def test_any_number_of_sure_patches_against_sixty_digits(how: str, logit: float, patches: int) -> None:
    getcontext().prec = 60
    values = [Decimal(logit), Decimal(logit) / 2]  # half of the patches each
    p = [1 / (1 + (-value).exp()) for value in values]
    half = Decimal(patches) / 2 if patches > 1 else Decimal(1)
    p, n = (p, half) if patches > 1 else (p[:1], Decimal(1))
    no = {
        "mean": sum(1 - q for q in p) / len(p),
        "max": 1 - max(p),
        "noisy_or": sum(((1 - q).ln() * n for q in p), Decimal(0)).exp(),
    }[how]
    yes = 1 - no if how != "mean" else sum(p) / len(p)
    beyond = yes == 0 or no < Decimal("1e-50")  # beyond even these digits the odds are 1 / no
    expected = -float(no.ln()) if beyond else float((yes / no).ln())
    logits = torch.tensor([[float(values[i % 2])] for i in range(patches)], dtype=torch.float64)
    pooled, _ = pool_cases(logits, torch.zeros(patches, dtype=torch.long), how)
    assert float(pooled) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("how", POOLS)
def test_cases_of_many_patches_keep_their_order_and_have_gradients(how: str, exclusive: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    sick = torch.arange(20) % 2
    logits = torch.randn(20, 300, 3, generator=generator, dtype=torch.float64) + 6
    logits[:, :, 1] += 0.5 * sick[:, None] if how != "max" else 20.0 * sick[:, None]
    flat = logits.flatten(0, 1).requires_grad_()
    pooled, _ = pool_cases(flat, torch.arange(20).repeat_interleave(300), how, exclusive)
    assert pooled.isfinite().all() and len(pooled[:, 1].unique()) == 20
    assert roc_auc_score(sick.numpy(), (pooled[:, 1] - exclusive * pooled[:, 0]).detach().numpy()) == 1.0
    pooled[:, 1].sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all() and (flat.grad[:, 1] > 0).any()


def test_members_stay_apart_and_exclusive_classes_are_a_softmax() -> None:
    logits = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cases = torch.tensor([0, 0, 0, 1, 1, 1])
    probs = logits.softmax(-1).numpy().reshape(2, 3, 2, 3)
    expected = {"mean": probs.mean(1), "max": probs.max(1)}
    odds = 1 / (1 - probs).prod(1) - 1
    expected["noisy_or"] = odds
    for how, weights in expected.items():
        pooled = pool_cases(logits, cases, how, exclusive=True)[0].softmax(-1).numpy()
        np.testing.assert_allclose(pooled, weights / weights.sum(-1, keepdims=True), rtol=1e-9)
