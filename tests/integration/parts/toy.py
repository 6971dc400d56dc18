"""Tiny stand-ins for a task to come: volumes. Real spine, toy data and networks.

They lie in a user's config folder in the tests, so they also show what an extension from outside looks like.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medtrain.core.spec import DataSpec
from medtrain.data.base import Data
from medtrain.data.loading import ranks
from medtrain.sampler import EvalSampler
from medtrain.task.base import Batch

SPLITS = {"train": range(0, 24), "val": range(24, 36), "test": range(36, 49)}  # 13 test cases: an uneven last batch


class Toy(Data):
    """49 cases of 49 patients; a subclass makes a case and a batch."""

    synthetic = True
    spec: DataSpec

    def __init__(self, cfg: dict[str, Any], **options: Any) -> None:
        super().__init__(cfg, **options)
        self.batch_size = int(cfg["batch_size"])
        split = [name for name, rows in SPLITS.items() for _ in rows]
        names = [f"case{i}" for i in range(len(split))]
        self.cases = pd.DataFrame({"case": names, "patient": names, "split": split, "fold": None})
        self.truth = np.arange(len(split)) % 2
        self.fingerprints = {"table": "toy", "split": "toy"}

    def prepare(self) -> None:
        return

    def item(self, row: int) -> Any:
        raise NotImplementedError

    def collate(self, items: list[Any]) -> Any:
        raise NotImplementedError

    def _loader(self, rows: list[int], sampler: Any) -> DataLoader[Any]:
        items = [self.item(row) for row in rows]
        return DataLoader(items, batch_size=self.batch_size, sampler=sampler, collate_fn=self.collate)  # type: ignore[arg-type]

    def train_dataloader(self) -> DataLoader[Any]:
        rows, (rank, world) = list(SPLITS["train"]), ranks()
        labels, patients = self.truth[rows], np.array(rows)
        sampler = self.build_sampler(labels, patients, batch_size=4, seed=self.seed, rank=rank, world=world)
        return self._loader(rows, sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.eval_dataloader("val")

    def eval_dataloader(self, split: str) -> DataLoader[Any]:
        rows = list(SPLITS[split])
        return self._loader(rows, EvalSampler(len(rows), *ranks()))


# --- volumes: several patches a case, one prediction a case --------------------------------------------------------


class Volumes(Toy):
    """Four patches a case; in a positive case one of them is bright."""

    spec = DataSpec("binary", ("0", "1"), 1, (4, 4, 4))

    def item(self, row: int) -> tuple[Tensor, float, int]:
        patches = torch.from_numpy(np.random.default_rng(row).normal(0, 0.05, (4, 1, 4, 4, 4)).astype(np.float32))
        if self.truth[row]:
            patches[row % 4] += 1
        return patches, float(self.truth[row]), row

    def collate(self, items: list[Any]) -> Batch:
        patches, labels, rows = zip(*items, strict=True)
        return {
            "x": torch.cat(patches),
            "y": torch.tensor(labels).repeat_interleave(4)[:, None],
            "case": torch.tensor(rows).repeat_interleave(4),
            "instance": torch.arange(4).repeat(len(rows)),
        }


class Net3d(nn.Module):
    """A linear network on the patch's mean and maximum."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.head = nn.Linear(2, spec.n_logits)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        flat = x_BCDHW.flatten(1)
        return self.head(torch.stack([flat.mean(1), flat.amax(1)], 1))
