"""Visits of cases in training: what random patches and images of a case depend on, beside the seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Sampler


class Visits(Sampler[tuple[int, int, int]]):
    """Give all that a sampler draws, once or several times an epoch, with the number of the draw and the epoch.

    Args:
        sampler: of positions, or (position, draw).
        times: how often.
    """

    def __init__(self, sampler: Sampler[Any], times: int = 1) -> None:
        self.sampler: Any = sampler  # torch's base class has neither length nor epoch, all of ours have
        self.times, self.epoch = times, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        drawn = list(self.sampler)
        for time in range(self.times):
            for one in drawn:
                position, draw = one if isinstance(one, tuple) else (one, 0)
                yield int(position), int(draw) * self.times + time, self.epoch

    def __len__(self) -> int:
        return self.times * len(self.sampler)
