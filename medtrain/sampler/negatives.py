"""A fixed share of each batch without any lesion: enough to learn what is none, not so many that little is learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from medtrain.core.errors import UsageError
from medtrain.core.ranges import Count, Inside, checked
from medtrain.sampler.balanced import Balanced
from medtrain.sampler.strata import Positions


class Negatives(Balanced):
    """Sampler that deals out images with and without lesions in a fixed proportion, as `Balanced` does classes.

    Of any run of slots, `negatives` of them to within one are images of no class. An image is with lesions where it has
    any class; which ones, and how many, does not count.

    Args:
        labels: (N, C) of 0, 1: has the image the class?
        negatives: the share of images without lesions, above 0 and below 1.
        groups, seed, rank, world, by_patient, length: as of `Balanced`.
        batch_size: images a batch and rank; at least 2.

    Raises:
        UsageError: an argument is out of range, or the training split lacks one of the two kinds.
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
        negatives: Inside = 0.3,
        by_patient: bool = False,
        length: Count | None = None,
    ) -> None:
        if batch_size < 2:
            raise UsageError("sampler=negatives: a batch of 1 can't hold both kinds; raise data.batch_size")
        values = np.asarray(labels)
        has_N = values == 1 if values.ndim == 1 else (values == 1).any(1)
        if has_N.all() or not has_N.any():
            lacking = "without lesions" if has_N.all() else "with lesions"
            raise UsageError(f"sampler=negatives: no image of the training split is {lacking}; take sampler=shuffle")
        super().__init__(
            has_N.astype(np.int64),
            groups,
            batch_size=batch_size,
            seed=seed,
            rank=rank,
            world=world,
            by_patient=by_patient,
            length=length,
        )
        self.share = negatives

    def _turns(self, slot: Positions) -> tuple[Positions, Positions]:
        before = np.floor(slot * self.share).astype(np.int64)  # negatives that came before each slot
        negative = np.floor((slot + 1) * self.share) > before
        return np.where(negative, 0, 1), np.where(negative, before, slot - before)
