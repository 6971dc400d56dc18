"""Each case in order, for validation, test and predict on any number of ranks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from medtrain.sampler.shard import check_rank, shard, shard_length


class EvalSampler(Sampler[int]):
    """Sampler of every world-th case from `rank` on; the last is repeated until all ranks have equally many.

    The repeats must not count twice: drop them by case number when the ranks' predictions are gathered.

    Args:
        n: number of cases.
        rank: 0 .. world - 1.
        world: number of ranks.
    """

    def __init__(self, n: int, rank: int = 0, world: int = 1) -> None:
        check_rank(rank, world)
        self.n, self.rank, self.world = n, rank, world

    def __iter__(self) -> Iterator[int]:
        yield from shard(np.arange(self.n), self.rank, self.world, repeat_last=True).tolist()

    def __len__(self) -> int:
        return shard_length(self.n, self.world)
