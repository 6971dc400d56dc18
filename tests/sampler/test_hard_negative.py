"""Hard images come more often, ranks share one epoch, and a state brings it back."""

from __future__ import annotations

import numpy as np
import pytest

from medtrain.core.errors import UsageError
from medtrain.sampler import HardNegative


def make(rank: int = 0, world: int = 1, **more: float) -> HardNegative:
    return HardNegative(np.zeros((40, 1)), batch_size=4, seed=3, rank=rank, world=world, **more)  # type: ignore[arg-type]


def test_shuffles_until_it_is_told() -> None:
    sampler = make()
    first = list(sampler)
    assert sorted(position for position, _ in first) == list(range(40)) and {draw for _, draw in first} == {0}
    sampler.set_epoch(1)
    assert list(sampler) != first and len(sampler) == 40


def test_hard_images_come_more_often_and_all_still_come() -> None:
    sampler = make(share=0.5)
    hardness = np.zeros(40)
    hardness[[3, 17]] = 1.0, 3.0
    sampler.remember(hardness)
    drawn = []
    for epoch in range(20):
        sampler.set_epoch(epoch)
        drawn += [position for position, _ in sampler]
    count = np.bincount(drawn, minlength=40)
    assert len(drawn) == 800 and count.min() > 0
    assert 250 < count[17] < 350 and 75 < count[3] < 150  # 20 of 40 by hardness, 3 to 1; and in turn
    repeats = [pair for pair in sampler if pair[0] == 17]
    assert sorted(draw for _, draw in repeats) == list(range(len(repeats)))


def test_ranks_share_an_epoch_and_a_state_brings_it_back() -> None:
    hardness = np.arange(40.0)
    both, parts = make(), [make(rank, 2) for rank in range(2)]
    for sampler in (both, *parts):
        sampler.remember(hardness)
        sampler.set_epoch(2)
    together = [pair for pairs in zip(*parts, strict=True) for pair in pairs]
    assert together == list(both)
    again = make()
    again.load_state_dict(both.state_dict())
    again.set_epoch(2)
    assert list(again) == list(both)


def test_refuses() -> None:
    with pytest.raises(UsageError, match=r"sampler\.share=2"):
        make(share=2)
    with pytest.raises(ValueError, match="40 numbers"):
        make().remember(np.zeros(3))
