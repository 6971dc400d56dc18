"""The share of images without lesions: true in every batch, and every image is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medtrain.core.errors import UsageError
from medtrain.sampler import Negatives

LABELS = np.zeros((200, 2))
LABELS[:15, 0] = LABELS[10:20, 1] = 1  # 20 of 200 images have lesions, some of two classes


def make(labels: Any = LABELS, **more: Any) -> Negatives:
    return Negatives(labels, None, **{"batch_size": 10, "seed": 0, **more})


def drawn(sampler: Negatives, epoch: int = 0) -> np.ndarray:
    sampler.set_epoch(epoch)
    return np.array(list(sampler))


@pytest.mark.parametrize(("share", "expected"), [(0.3, {3}), (0.5, {5}), (0.25, {2, 3}), (0.9, {9})])
def test_the_share_holds_in_every_batch(share: float, expected: set[int]) -> None:
    for epoch in range(3):
        batches = drawn(make(negatives=share), epoch)[:, 0].reshape(-1, 10)
        assert set((batches >= 20).sum(1).tolist()) == expected


def test_all_images_come_before_any_comes_again() -> None:
    rows = np.concatenate([drawn(make(), epoch)[:, 0] for epoch in range(4)])
    negative, positive = rows[rows >= 20], rows[rows < 20]
    assert sorted(negative[:180]) == list(range(20, 200))
    assert sorted(positive[:20]) == list(range(20))
    assert len(negative) == 240 and len(positive) == 560


def test_ranks_share_an_epoch_and_it_can_be_drawn_again() -> None:
    parts = [drawn(make(world=2, rank=rank), 1) for rank in range(2)]
    assert all(len(part) == 100 for part in parts)
    rows = np.concatenate([part[:, 0] for part in parts])
    assert len(set(rows[rows >= 20].tolist())) == (rows >= 20).sum() == 60
    np.testing.assert_array_equal(parts[0], drawn(make(world=2, rank=0), 1))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="sampler.negatives=1"):
        make(negatives=1.0)
    with pytest.raises(UsageError, match="without lesions"):
        make(np.ones((5, 1)))
    with pytest.raises(UsageError, match="with lesions"):
        make(np.zeros((5, 1)))
    with pytest.raises(UsageError, match="a batch of 1"):
        make(batch_size=1)
