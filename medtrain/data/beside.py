"""What stands beside the images of prepared data: columns of the table, and controls that part the two.

A control shuffles one half among the cases of each split, so that a model can learn nothing of it: what is left of its
score is what the other half is worth (`data.control`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medtrain.core.covariates import Covariate, learned
from medtrain.core.errors import Problem, UsageError
from medtrain.core.streams import stream
from medtrain.core.words import nearest
from medtrain.data.rows.covariate_cells import Columns, unlike_training
from medtrain.data.rows.covariates import constant, read_columns, read_known
from medtrain.data.rows.manifest import Manifest
from medtrain.target import DataSpec

Rows = NDArray[np.int64]
SHUFFLED = ("image", "covariates")  # values of data.control that shuffle


def columns_of(manifest: Manifest, cfg: Any, spec: DataSpec | None, strict: bool = True) -> Columns:
    """Read the columns beside the images of these rows: those that a trained model knows, or those of data.covariates.

    Args:
        strict: see `medtrain.data.rows.covariates.read_known`.

    Raises:
        UsageError: columns are named that the model has not learned. Others as of `read_columns`.
    """
    named = [str(name) for name in cfg.get("covariates") or ()]
    if spec is None:
        return read_columns(manifest, cfg) if named else Columns()
    known = [column.name for column in spec.covariates]
    if named and named != known:
        learned_of = ", ".join(known) or "none"
        raise UsageError(
            f"data.covariates=[{','.join(named)}]: the columns that the model has learned are {learned_of}"
        )
    return read_known(manifest, spec.covariates, bool(cfg.get("merge_case")), strict) if known else Columns()


def learned_columns(columns: Columns, train: Rows) -> tuple[Covariate, ...]:
    """Learn scale and vocabulary of each column from these rows (DataError: one has no known value)."""
    return tuple(learned(name, kind, columns.values[name][train]) for name, kind in columns.kinds.items())


def told_of(
    known: Sequence[Covariate], columns: Columns, rows: Rows, other: NDArray[np.bool_], new: bool
) -> list[Problem]:
    """List what is to be told of the columns once splits are known.

    Args:
        rows: of the manifest.
        other: which of them are not of the training split.
        new: they have been learned just now.
    """
    what = "cases of validation and test" if new else "cases"
    return [*(constant(known) if new else ()), *unlike_training(known, columns, rows[other], what)]


def check_control(control: str | None, controls: Sequence[str], named: bool) -> None:
    """Refuse a control that these data don't have (UsageError).

    Args:
        controls: those that there are beside `SHUFFLED`.
        named: there are columns beside the images.
    """
    if control is None:
        return
    allowed = (*SHUFFLED, *controls)
    if control not in allowed:
        raise UsageError(f"data.control={control} is none of {', '.join(allowed)}{nearest(control, allowed)}")
    if control == "covariates" and not named:
        raise UsageError("data.control=covariates shuffles the columns of data.covariates: name some")


def within(splits: Sequence[str], seed: int) -> Rows:
    """Shuffle cases within their split: of each case, the number of the one whose half it gets."""
    split_N = np.asarray(splits)
    order = np.arange(len(split_N))
    for name in dict.fromkeys(split_N.tolist()):
        own = np.flatnonzero(split_N == name)
        order[own] = stream(seed, "control", str(name)).permutation(own)
    return order


class WithColumns(Dataset[Any]):
    """A data set whose batches carry ``columns``, float32 (B, C), a row for each entry of ``case``.

    Args:
        dataset: whose ``__getitems__`` gives whole batches.
        columns: coded, a row a case of the data.
    """

    def __init__(self, dataset: Dataset[Any], columns: NDArray[np.float32]) -> None:
        self.dataset, self.columns = dataset, torch.from_numpy(columns)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, position: int) -> Any:
        sample = self.dataset[position]
        return sample | {"columns": self.columns[sample["case"]]}

    def __getitems__(self, positions: Sequence[Any]) -> Any:
        batch: dict[str, Any] = self.dataset.__getitems__(positions)  # type: ignore[attr-defined]
        cases: Tensor = batch["case"]
        return batch | {"columns": self.columns[cases]}
