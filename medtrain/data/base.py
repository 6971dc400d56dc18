"""Data: what a command may ask of any source of cases, whatever a case is made of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from medtrain.core.errors import Problem
from medtrain.core.progress import Progress, to_stderr
from medtrain.core.truth import Truth
from medtrain.data.loading import LaterBatches, loader, ranks
from medtrain.sampler import EvalSampler, Shuffle
from medtrain.target import DataSpec


class Inputs(Protocol):
    """Cases without labels, to predict or to explain.

    Attributes:
        cases: a row a case: case, patient, path.
        truth: sizes of images whose boxes are predicted; None of other cases.
        errors: why a case cannot be read, by row number; those rows are in no batch.
        readable: the other row numbers.
    """

    cases: pd.DataFrame
    truth: Truth | None
    errors: dict[int, str]
    readable: NDArray[np.int64]

    def predict_dataloader(self) -> DataLoader[Any]:
        """Batches without labels, in order; ranks get equally many, so some may come twice (tell by ``case``)."""


class Data(pl.LightningDataModule):
    """Cases with labels and splits.

    A batch is a dict; ``case`` int64 (B,) is the row number in `cases`, ``y`` float32 (B, K) for binary (K=1) and
    multilabel (NaN unknown), int64 (B,) for multiclass; ``draw`` int64 (B,), where a sampler repeats cases: which time
    in the epoch it is; ``instance`` int64 (B,), where a case has several rows: which of them it is.

    Args:
        cfg: the data node of the configuration.
        build_sampler: called with labels, groups (patients), batch_size, seed, rank and world; gives positions, or
            pairs (position, draw).
        seed: of the run, for the sampler.
        report: takes warnings, a line or more each.
        progress: takes (done, total) while files are read.
        spec: of a trained model, whose classes, channels, size and normalisation hold then.
        all_test: rows without an official split are all tested (external data).
        splits: case and split as a run has written them; nothing is split anew then.
        groups: columns of the table by which results are broken down.

    Attributes:
        inspector: the file of `medtrain.inspection` that looks such data over.
        takes: further arguments of the constructor and of `for_inputs` that are built from the configuration.

    Known after `prepare`:
        spec: DataSpec.
        cases: a row a case: case, patient, split, fold, path.
        targets: binary float [N] 0/1, multiclass int [N], multilabel float [N, C] with NaN unknown; boxes
            float [N, C] 0/1, the classes that an image shows; None without labels.
        truth: boxes of the cases; None where labels are all there is.
        groups: the columns asked for as written, a row a case; None where there are none.
        held_out: with data.split_by=site the site that tests, its fold and the number of sites; else None.
        fingerprints: SHA-256 of the cases, labels and patients (``table``) and of cases and splits
            (``split``); of cases and folds (``folds``) too where there are folds, equal for all runs of one
            cross-validation.
        problems: what was skipped or warned of.
        excluded: {reason: cases} of what the data list and the run doesn't use.
        synthetic: made up by the program.
        noun: what people call the cases.
    """

    takes: ClassVar[tuple[str, ...]] = ()
    unlabelled: ClassVar[type[Any]]  # of `for_inputs`, the `Inputs` of this kind of cases
    inspector = "cases"
    synthetic = False
    noun = "images"
    held_out: dict[str, Any] | None = None
    targets: NDArray[Any] | None = None
    truth: Truth | None = None
    groups: pd.DataFrame | None = None
    spec: DataSpec
    cases: pd.DataFrame

    def __init__(
        self,
        cfg: Mapping[str, Any],
        *,
        build_sampler: Callable[..., Sampler[Any]] | None = None,
        seed: int = 0,
        report: Callable[[str], None] = to_stderr,
        progress: Progress | None = None,
        spec: DataSpec | None = None,
        all_test: bool = False,
        splits: pd.DataFrame | None = None,
        groups: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.cfg, self.build_sampler, self.seed = dict(cfg), build_sampler or Shuffle, seed
        self.report, self.progress = report, progress
        self.all_test, self.known, self.group_by = all_test, splits, groups
        self.model_spec = spec
        self.problems: list[Problem] = []
        self.fingerprints: dict[str, str] = {}
        self.excluded: dict[str, int] = {}

    @classmethod
    def for_inputs(
        cls,
        cfg: Mapping[str, Any],
        spec: DataSpec,
        input_path: str | Path,
        progress: Progress | None = None,
        **parts: Any,
    ) -> Inputs:
        """Cases without labels (a file, a folder, a table) as a trained model takes them."""
        found: Inputs = cls.unlabelled(cfg, spec, Path(input_path), progress, **parts)
        return found

    @abstractmethod
    def prepare(self) -> None:
        """Read, check and split all of it, once.

        Raises:
            UsageError: the configuration doesn't fit the data. DataError: with all that is wrong in the data.
        """

    @abstractmethod
    def dataset(self, rows: NDArray[np.int64]) -> Dataset[Any]:
        """These rows of `cases`, in their order; its ``__getitems__`` gives a whole batch."""

    def pixels(self, cases: Sequence[str]) -> NDArray[Any] | None:
        """(B, C, H, W), uint8 or uint16, of cases by their names, for pictures in a report; None without pictures."""
        return None

    @abstractmethod
    def split_table(self) -> pd.DataFrame:
        """What splits.csv keeps of each case: names, split, fold, content, and a digest of its labels."""

    @abstractmethod
    def table_digest(self, patients: Sequence[str]) -> str:
        """The fingerprint of cases, labels and these patients, one a case (see `fingerprints`)."""

    def setup(self, stage: str | None = None) -> None:
        self.prepare()

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers in `cases` of one split."""
        return np.flatnonzero(self.cases["split"].to_numpy() == split)

    def labels(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """What a sampler goes by: a label for each sample of `dataset(rows)`."""
        assert self.targets is not None
        return self.targets[rows]

    def patients(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The patient of each sample of `dataset(rows)`."""
        return np.asarray(self.cases["patient"].to_numpy()[rows])

    def training_set(self, rows: NDArray[np.int64]) -> Dataset[Any]:
        """`dataset`, where training sees other samples of a case than evaluation does."""
        return self.dataset(rows)

    def sampler(self, rows: NDArray[np.int64], batch_size: int) -> Sampler[Any]:
        """What draws positions of `training_set`."""
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
        return loader(self.training_set(rows), batches, self.workers)

    def batches(self, rows: NDArray[np.int64], sampler: Sampler[Any], training: bool = False) -> LaterBatches:
        """What a sampler of these rows gives, put together to batches."""
        size, count = int(self.cfg["batch_size"]), len(sampler)  # type: ignore[arg-type]
        lonely = training and count > size and count % size == 1  # batch norm cannot learn from one image
        return LaterBatches(sampler, size, drop_last=lonely)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> DataLoader[Any]:
        """The cases of a split in their order; ranks get equally many, so some may come twice (tell by ``case``)."""
        self.prepare()
        rows = self.rows(split)
        dataset = self.dataset(rows)
        sampler = EvalSampler(len(dataset), *ranks())  # type: ignore[arg-type]
        return loader(dataset, self.batches(rows, sampler), self.workers)

    @property
    def workers(self) -> int:
        return int(self.cfg.get("num_workers") or 0)
