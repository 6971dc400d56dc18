"""Draws with replacement in which a rare class comes more often than it occurs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medtrain.core.ranges import Count, Share, checked
from medtrain.core.streams import stream
from medtrain.sampler.shard import check_rank
from medtrain.sampler.strata import batches_of, draw_numbers, patients, strata


class Weighted(Sampler[tuple[int, int]]):
    """Sampler that draws a class with a probability proportional to n^(1 - power), n its cases, then one case of it.

    Cases of several labels belong to the rarest that they have, cases of no label to a class of their own. All ranks
    make the same draws and take every world-th. An epoch is a whole number of batches.

    Args:
        labels: (N,) class numbers or 0/1, negative or NaN where unknown; (N, C) of 0, 1, NaN.
        groups: the patient of each case, or None.
        batch_size: cases a batch and rank.
        seed: of the run.
        rank: 0 .. world - 1.
        world: number of ranks.
        power: 1 draws all classes equally often, 0 as often as they occur.
        by_patient: of a class, first draw the patient, then one of the patient's cases.
        length: cases an epoch over all ranks, rounded up to whole batches; None: N.

    Yields:
        (position, draw): the number of earlier draws of that position in the epoch, for another augmentation each.

    Raises:
        UsageError: an argument is out of range, or no label is known.
    """

    @checked("sampler")
    def __init__(
        self,
        labels: Any,
        groups: Any,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        power: Share = 1.0,
        by_patient: bool = False,
        length: Count | None = None,
    ) -> None:
        check_rank(rank, world)
        self.seed, self.rank, self.world, self.epoch = seed, rank, world, 0
        self.length = batches_of(length, len(labels), batch_size, world) * batch_size
        self.probability_N = probabilities(labels, patients(groups, len(labels)) if by_patient else None, power)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to draw for; a resumed run that sets its epoch goes on with the same draws."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        draw = stream(self.seed, "weighted", self.epoch)
        drawn = draw.choice(len(self.probability_N), self.length * self.world, p=self.probability_N)
        numbers = draw_numbers(drawn)
        own = slice(self.rank, None, self.world)
        yield from zip(drawn[own].tolist(), numbers[own].tolist(), strict=True)

    def __len__(self) -> int:
        return self.length


def probabilities(labels: Any, patient_N: NDArray[np.int64] | None, power: float) -> NDArray[np.float64]:
    """Compute the probability of each case, (N,); 0 where no label is known."""
    weight_N, free_N = np.zeros(len(labels)), np.ones(len(labels), bool)
    for cases in sorted(strata(labels), key=len):  # the rarest first: a case counts for that one
        own = cases[free_N[cases]]
        free_N[own] = False
        if not len(own):
            continue
        share = np.ones(len(own))
        if patient_N is not None:
            _, patient, count = np.unique(patient_N[own], return_inverse=True, return_counts=True)
            share = 1 / count[patient]
        weight_N[own] = share / share.sum() * len(own) ** (1 - power)
    return np.asarray(weight_N / weight_N.sum())
