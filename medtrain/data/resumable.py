"""A loader that goes on in the middle of an epoch: what a run has seen of it is not loaded again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import BatchSampler, DataLoader


class LaterBatches(BatchSampler):
    """Batches of a sampler, from number `start` on; its length stays that of the whole epoch."""

    start = 0

    def __iter__(self) -> Iterator[list[Any]]:
        yield from islice(super().__iter__(), self.start, None)


class ResumableLoader(DataLoader[Any]):
    """Lightning's protocol of loaders with a state: how many batches of the epoch have been handed out.

    Which batches these are follows from seed and epoch (see `medtrain.sampler`), so the number is all that a run
    needs to go on. An epoch begins when its first batch is asked for, as the sampler learns the epoch after `iter`.
    """

    given = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        assert isinstance(self.batch_sampler, LaterBatches)
        self.given = self.batch_sampler.start
        for batch in super().__iter__():
            self.given += 1
            self.batch_sampler.start = 0  # of the next epoch
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"batches": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after so many batches; with the next epoch if that was all of them."""
        assert isinstance(self.batch_sampler, LaterBatches)
        self.batch_sampler.start = state["batches"] if state["batches"] < len(self) else 0
