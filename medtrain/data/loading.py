"""Loaders of whole batches, which can go on in the middle of an epoch: what a run has seen is not loaded again."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset

from medtrain.target import Target

WAKES_S = 0.2  # after which a thread that waits looks whether it is still wanted


class LaterBatches(BatchSampler):
    """Batches of a sampler; of the next epoch from number `start` on. Its length stays that of the whole epoch."""

    start = 0

    def __iter__(self) -> Iterator[list[Any]]:
        start, self.start = self.start, 0
        yield from islice(self.whole_epoch(), start, None)

    def whole_epoch(self) -> Iterator[list[Any]]:
        """Give all batches; a subclass may put them together in another way."""
        return super().__iter__()


class ResumableLoader(DataLoader[Any]):
    """A loader that can leave out what a run has seen of an epoch; Lightning knows it by these methods.

    Which batches these are follows from seed and epoch (see `medtrain.sampler`), and the training loop counts them (see
    `Task.on_train_start`), so the loader has nothing to remember. An epoch begins when its first batch is asked for, as
    the sampler learns the epoch after `iter`.

    Attributes:
        ahead: batches that a thread makes ready meanwhile; 0 for none.
    """

    ahead = 0

    def __iter__(self) -> Any:  # a generator, where torch names a class of its own
        yield from made_ahead(super().__iter__, self.ahead) if self.ahead else super().__iter__()

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out the first ``batches`` of the next epoch."""
        assert isinstance(self.batch_sampler, LaterBatches)
        self.batch_sampler.start = state.get("batches", 0)


def made_ahead(begin: Callable[[], Iterator[Any]], number: int) -> Iterator[Any]:
    """Give what an iterator gives, made by a thread, so that reading goes on while the last batch is computed with.

    A process would have to hand each batch over, which for batches that are copied from memory takes longer than to
    make them.

    Args:
        begin: makes the iterator, in the thread.
        number: of batches that wait at most.
    """
    ready: queue.Queue[tuple[bool, Any]] = queue.Queue(number)
    ended = threading.Event()

    def put(is_batch: bool, value: Any) -> bool:
        while not ended.is_set():
            try:
                ready.put((is_batch, value), timeout=WAKES_S)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for batch in begin():
                if not put(True, batch):
                    return
            put(False, None)
        except BaseException as error:  # the caller's, whatever it is
            put(False, error)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        while True:
            is_batch, value = ready.get()
            if is_batch:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        ended.set()
        thread.join()


def loader(dataset: Dataset[Any], batches: LaterBatches, num_workers: int, ahead: int = 0) -> DataLoader[Any]:
    """Load batches of a data set whose ``__getitems__`` gives whole ones.

    Args:
        ahead: batches that a thread makes ready, where there are no workers.
    """
    made = ResumableLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_whole_batch,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
    )
    made.ahead = 0 if num_workers else ahead
    return made


def as_labels(target: Target, values: NDArray[Any]) -> Tensor:
    """Turn a target's values, a row a case, into ``y`` as batches have it (see `medtrain.data.base.Data`)."""
    return torch.from_numpy(target.batch_labels(values))


def _whole_batch(batch: Any) -> Any:
    return batch


def ranks() -> tuple[int, int]:
    """Give (rank, world) of this process; (0, 1) where nothing is distributed."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
