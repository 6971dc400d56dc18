"""Loaders of cases: samples of a split, drawn by a sampler or in order, put together to batches.

What the samples are made of, and which rows belong to a split, a subclass knows (`medtrain.data.base.Data`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from medtrain.data.beside import WithColumns
from medtrain.data.loading import LaterBatches, as_labels, loader, ranks
from medtrain.sampler import EvalSampler
from medtrain.target import DataSpec

Rows = NDArray[np.int64]


class Loaders(pl.LightningDataModule):
    """Loaders of training, validation, test and prediction, as Lightning asks for them.

    The attributes are explained in `medtrain.data.base.Data`, which sets them.
    """

    cfg: Mapping[str, Any]
    seed: int
    build_sampler: Callable[..., Sampler[Any]]
    spec: DataSpec
    cases: pd.DataFrame
    targets: NDArray[Any] | None = None
    columns: NDArray[np.float32] | None = None
    readable: Rows

    @abstractmethod
    def prepare(self) -> None:
        """Read, check and split the cases, once."""

    @abstractmethod
    def dataset(self, rows: Rows) -> Dataset[Any]:
        """Take these rows of `cases`, in their order; its ``__getitems__`` gives a whole batch."""

    def setup(self, stage: str | None = None) -> None:
        self.prepare()

    def rows(self, split: str) -> Rows:
        """Number the rows in `cases` of one split."""
        return np.flatnonzero(self.cases["split"].to_numpy() == split)

    def y(self, rows: Rows) -> Tensor | None:
        """Give labels of these cases as batches have them; None without labels."""
        return None if self.targets is None else as_labels(self.spec.target, self.targets[rows])

    def labels(self, rows: Rows) -> NDArray[Any]:
        """Give what a sampler goes by: a label for each sample of `dataset(rows)`."""
        assert self.targets is not None
        return self.targets[rows]

    def patients(self, rows: Rows) -> NDArray[Any]:
        """Name the patient of each sample of `dataset(rows)`."""
        return np.asarray(self.cases["patient"].to_numpy()[rows])

    def training_set(self, rows: Rows) -> Dataset[Any]:
        """Take these rows as `dataset` does, where training sees no other samples of a case than evaluation."""
        return self.dataset(rows)

    def sampler(self, rows: Rows, batch_size: int) -> Sampler[Any]:
        """Build what draws positions of `training_set`."""
        rank, world = ranks()
        return self.build_sampler(
            labels=self.labels(rows),
            groups=self.patients(rows),
            batch_size=batch_size,
            seed=self.seed,
            rank=rank,
            world=world,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        self.prepare()
        rows = self.rows("train")
        batches = self.batches(rows, self.sampler(rows, int(self.cfg["batch_size"])), training=True)
        return loader(self._with_columns(self.training_set(rows)), batches, self.workers, self.ahead)

    def batches(self, rows: Rows, sampler: Sampler[Any], training: bool = False) -> LaterBatches:
        """Put what a sampler of these rows gives together to batches."""
        size, count = int(self.cfg["batch_size"]), _length(sampler)
        lonely = training and count > size and count % size == 1  # batch norm cannot learn from one image
        return LaterBatches(sampler, size, drop_last=lonely)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Load what can be read, in order; ranks get equally many, so some may come twice (tell by ``case``)."""
        return self._in_order(self.readable)

    def eval_dataloader(self, split: str) -> DataLoader[Any]:
        """Load the cases of a split in their order; ranks get equally many, so some may come twice."""
        self.prepare()
        return self._in_order(self.rows(split))

    def _in_order(self, rows: Rows) -> DataLoader[Any]:
        dataset = self._with_columns(self.dataset(rows))
        return loader(dataset, self.batches(rows, EvalSampler(_length(dataset), *ranks())), self.workers, self.ahead)

    def _with_columns(self, dataset: Dataset[Any]) -> Dataset[Any]:
        """Let batches carry the columns beside the images, where there are any."""
        return dataset if self.columns is None else WithColumns(dataset, self.columns)

    ahead = 0
    """Batches that a thread makes ready, of data that need no workers."""

    @property
    def workers(self) -> int:
        return int(self.cfg.get("num_workers") or 0)


def _length(of: Any) -> int:
    """Count samples; torch leaves open whether its samplers and data sets have a length, all of ours have."""
    return len(of)
