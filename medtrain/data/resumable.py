"""A loader that goes on in the middle of an epoch: what a run has seen of it is not loaded again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import BatchSampler, DataLoader


class LaterBatches(BatchSampler):
    """Batches of a sampler; of the next epoch from number `start` on. Its length stays that of the whole epoch."""

    start = 0

    def __iter__(self) -> Iterator[list[Any]]:
        start, self.start = self.start, 0
        yield from islice(super().__iter__(), start, None)


class ResumableLoader(DataLoader[Any]):
    """A loader that can leave out what a run has seen of an epoch; Lightning knows it by these methods.

    Which batches these are follows from seed and epoch (see `medtrain.sampler`), and the training loop counts them (see
    `Task.on_train_start`), so the loader has nothing to remember. An epoch begins when its first batch is asked for, as
    the sampler learns the epoch after `iter`.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        yield from super().__iter__()

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out the first ``batches`` of the next epoch."""
        assert isinstance(self.batch_sampler, LaterBatches)
        self.batch_sampler.start = state.get("batches", 0)
