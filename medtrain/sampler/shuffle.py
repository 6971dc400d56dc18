"""Every case once an epoch, in an order that depends on seed and epoch only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from medtrain.core.streams import stream
from medtrain.sampler.shard import check_rank, shard, shard_length


class Shuffle(Sampler[int]):
    """Sampler of a new permutation each epoch: all ranks draw the same one and take every world-th index of it.

    Where the cases don't divide by the ranks, the first of the permutation come again, so all ranks have equally many.

    Args:
        labels: one row a case; here only their number counts.
        groups: the patient of each case, or None; not used here.
        batch_size: cases a batch and rank; not used here.
        seed: of the run.
        rank: 0 .. world - 1.
        world: number of ranks.
    """

    def __init__(self, labels: Any, groups: Any, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        check_rank(rank, world)
        self.n, self.seed, self.rank, self.world, self.epoch = len(labels), seed, rank, world, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to draw for; a resumed run that sets its epoch goes on with the same order."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = stream(self.seed, "shuffle", self.epoch).permutation(self.n)
        yield from shard(np.asarray(order), self.rank, self.world).tolist()

    def __len__(self) -> int:
        return shard_length(self.n, self.world)
