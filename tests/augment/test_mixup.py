"""Mixup: images and losses mixed alike, from the place in the run only, unknown labels left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from medtrain.augment import mixup
from medtrain.loss import cross_entropy as masked
from medtrain.target import DataSpec
from medtrain.task.classification import Classification

X = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_images_are_mixed_with_their_partner() -> None:
    mixed, partner, share = mixup(X, 0.5, 3, 1, 2, 0)
    assert sorted(partner.tolist()) == list(range(6)) and 0 <= share <= 1
    torch.testing.assert_close(mixed, share * X + (1 - share) * X[partner])


def test_the_place_decides_and_global_generators_do_not() -> None:
    first = mixup(X, 0.5, 3, 1, 2, 0)
    torch.manual_seed(9)
    again = mixup(X, 0.5, 3, 1, 2, 0)
    assert torch.equal(first[0], again[0]) and first[2] == again[2]
    shares = {
        mixup(X, 0.5, *place)[2] for place in [(3, 1, 2, 0), (4, 1, 2, 0), (3, 0, 2, 0), (3, 1, 3, 0), (3, 1, 2, 1)]
    }
    assert len(shares) == 5


def test_shares_are_of_the_beta_distribution() -> None:
    shares = np.array([mixup(X[:1], 0.4, 0, step)[2] for step in range(1500)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.015)  # of Beta(a, a)


KINDS = {
    "binary": (("0", "1"), torch.tensor([[0.0], [1], [math.nan], [1], [0], [0]])),
    "multiclass": (("a", "b", "c"), torch.tensor([0, 1, -1, 2, 1, 0])),
    "multilabel": (("a", "b"), torch.tensor([[0.0, 1], [1, math.nan], [1, 1], [0, 0], [math.nan, 1], [1, 0]])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_mixed_targets(kind: str) -> None:
    classes, y = KINDS[kind]
    spec = DataSpec.of(kind, classes, 1, (4, 4), mean=(0.5,), std=(0.25,))  # type: ignore[arg-type]
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, spec.n_logits))
    task = Classification(spec, net, loss=masked(spec), mixup=0.5, seed=7).train()
    task.place = (2, 5, 0)
    found = task.losses({"x": X, "y": y, "case": torch.arange(6)})["loss"]
    mixed, partner, share = mixup((X - 0.5) / 0.25, 0.5, 7, 2, 5, 0)
    logits, total = net(mixed), torch.zeros(())
    for weight, target in ((share, y), (1 - share, y[partner])):
        known = target >= 0
        if kind == "multiclass":
            total = total + weight * cross_entropy(logits[known], target[known])
        else:
            total = total + weight * binary_cross_entropy_with_logits(logits[known], target[known])
    torch.testing.assert_close(found, total)
    assert found.requires_grad
