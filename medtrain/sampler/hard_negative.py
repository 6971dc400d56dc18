"""Images on which the detector finds what isn't there come more often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medtrain.core.ranges import Count, Share, checked
from medtrain.core.streams import stream
from medtrain.sampler.shard import check_rank
from medtrain.sampler.strata import batches_of, draw_numbers


class HardNegative(Sampler[tuple[int, int]]):
    """Sampler of each image once an epoch, and of some hard ones again: those with false alarms the epoch before.

    After each epoch `remember` takes how hard every image was. A share of the next epoch's images is then drawn by
    that, with replacement, in the place of as many that are left out in turn; before that it shuffles.

    Args:
        labels: as of all samplers; here they only say how many images there are.
        groups: not used.
        batch_size: images a batch and rank.
        seed: of the run.
        rank: 0 .. world - 1.
        world: number of ranks.
        share: of an epoch's images that are drawn by hardness, 0..1.
        length: images an epoch over all ranks, rounded up to whole batches; None: N.

    Yields:
        (position, draw): the number of earlier draws of that position in the epoch, for another augmentation each.

    Raises:
        UsageError: the share or the length is out of range.
    """

    @checked("sampler")
    def __init__(
        self,
        labels: Any,
        groups: Any = None,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        share: Share = 0.25,
        length: Count | None = None,
    ) -> None:
        check_rank(rank, world)
        self.n, self.share = len(labels), share
        self.seed, self.rank, self.world, self.epoch = seed, rank, world, 0
        self.length = batches_of(length, len(labels), batch_size, world) * batch_size
        self.hardness_N: NDArray[np.float64] = np.zeros(self.n)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to draw for."""
        self.epoch = epoch

    def remember(self, hardness_N: Any) -> None:
        """Take how hard each image was, at least 0: the sum of the scores of its false positives.

        Raises:
            ValueError: there isn't one number an image.
        """
        hardness = np.asarray(hardness_N, np.float64)
        if hardness.shape != (self.n,) or (hardness < 0).any():
            raise ValueError(f"{self.n} numbers of at least 0 are wanted")
        self.hardness_N = hardness

    def state_dict(self) -> dict[str, Any]:
        """Give what a resumed run needs beyond seed and epoch."""
        return {"hardness": self.hardness_N.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.remember(state["hardness"])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        drawn = self._epoch()
        numbers = draw_numbers(drawn)
        own = slice(self.rank, None, self.world)
        yield from zip(drawn[own].tolist(), numbers[own].tolist(), strict=True)

    def __len__(self) -> int:
        return self.length

    def _epoch(self) -> NDArray[np.int64]:
        """Draw the positions of all ranks."""
        total = self.length * self.world
        draw = stream(self.seed, "hard_negative", self.epoch)
        hard = round(self.share * total) if self.hardness_N.any() else 0
        every = np.concatenate([draw.permutation(self.n) for _ in range(-(-total // self.n))])[: total - hard]
        often = draw.choice(self.n, hard, p=self.hardness_N / self.hardness_N.sum()) if hard else every[:0]
        return np.asarray(draw.permutation(np.concatenate([every, often])), np.int64)
