"""Columns of a table beside the image, such as age and sex: what training has learned of them, and how a network and a
model of the table alone take them.

Cases carry plain values: a number, or the position of a category in its vocabulary, and NaN where nothing is known.
What they become is written once, here, as operators of torch, so that a trained network, its export and the table
alone agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["number", "category"]
FAR = 0.5  # of the width of training's range, by which a number may lie beyond it before that is told


@dataclass(frozen=True)
class Covariate:
    """One column beside the image, as the training split has it.

    Args:
        name: of the column.
        kind: number or category.
        mean, std: of a number, over the training cases in which it is known; std is 1 where it is constant.
        low, high: the range of a number there.
        categories: the vocabulary of the training split, sorted.
        missing: cases of the training split in which it is unknown.
    """

    name: str
    kind: Kind
    mean: float = 0.0
    std: float = 1.0
    low: float = 0.0
    high: float = 0.0
    categories: tuple[str, ...] = ()
    missing: int = 0

    @property
    def width(self) -> int:
        """Count the numbers that a network gets: the scaled value, or one a category; and whether it is missing."""
        return 1 + (1 if self.kind == "number" else len(self.categories))

    @property
    def constant(self) -> bool:
        """Tell whether the training split has one known value only, and misses none: there is nothing to learn."""
        alike = self.low == self.high if self.kind == "number" else len(self.categories) < 2
        return alike and not self.missing

    def coded(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Code known values: numbers stay, texts become positions in the vocabulary; NaN where unknown or unseen."""
        if self.kind == "number":
            return np.asarray(values, np.float64)
        place = {name: float(n) for n, name in enumerate(self.categories)}
        return np.array([place.get(text, np.nan) for text in values.tolist()], np.float64)

    def far(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which numbers lie far outside the range of the training split; no category does."""
        if self.kind != "number":
            return np.zeros(len(values), bool)
        slack = FAR * (self.high - self.low) or FAR * max(abs(self.low), 1.0)
        return np.asarray((values < self.low - slack) | (values > self.high + slack))

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, as JSON and `weights_only` checkpoints take them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Covariate:
        """Read what `to_dict` gave."""
        return cls(**{**plain, "categories": tuple(plain["categories"])})


def learned(name: str, kind: Kind, values: NDArray[Any]) -> Covariate:
    """Learn of a column what the training split tells.

    Args:
        values: of the training cases, float with NaN, or texts with '' where unknown.

    Raises:
        DataError: no value is known.
    """
    known = values[np.isfinite(values)] if kind == "number" else values[values != ""]
    if not len(known):
        raise DataError(f"data.covariates: no case of the training split has a value of {name!r}; leave it out")
    missing = len(values) - len(known)
    if kind == "category":
        return Covariate(name, kind, categories=tuple(sorted(set(known.tolist()))), missing=missing)
    mean, std, low, high = (float(f(known)) for f in (np.mean, np.std, np.min, np.max))
    return Covariate(name, kind, mean, std if high > low else 1.0, low, high, missing=missing)


def united(parts: Sequence[Sequence[Covariate]]) -> tuple[Covariate, ...]:
    """Put together what members of an ensemble have learned of the same columns: all categories, the whole range."""
    whole = []
    for same in zip(*parts, strict=True):
        names = tuple(sorted({name for column in same for name in column.categories}))
        low, high = min(column.low for column in same), max(column.high for column in same)
        whole.append(replace(same[0], categories=names, low=low, high=high))
    return tuple(whole)


def width(covariates: Sequence[Covariate]) -> int:
    """Count the numbers that `encoded` gives."""
    return sum(covariate.width for covariate in covariates)


def encoded(covariates: Sequence[Covariate], columns_BC: Tensor, coded_by: Sequence[Covariate] | None = None) -> Tensor:
    """Turn coded values (B, C) into what learns from them (B, W), float32.

    A number becomes (x - mean) / std, a category one 0 or 1 a name; a further 0 or 1 of each column says that it is
    missing, and what would be its value is 0 then.

    Args:
        coded_by: whose vocabularies the values are coded by, where others have seen more categories than `covariates`;
            those that these have not seen are missing.
    """
    rows, owners = [], []
    for n, (covariate, reader) in enumerate(zip(covariates, coded_by or covariates, strict=True)):
        own = _rows(n, covariate, reader)
        owners += [n] * len(own)
        rows += own
    source, shift, scale, is_value, is_name, is_missing = (list(column) for column in zip(*rows, strict=True))
    x_BW = columns_BC.float()[:, source]
    shift_W, is_name_W, is_missing_W = (x_BW.new_tensor(values) for values in (shift, is_name, is_missing))
    value_BW = (x_BW - shift_W) / x_BW.new_tensor(scale)
    known_BW = ((x_BW == shift_W).to(x_BW.dtype) * is_name_W) + (x_BW == x_BW).to(x_BW.dtype) * x_BW.new_tensor(
        is_value
    )
    same_WW = x_BW.new_tensor([[float(a == b) for b in owners] for a in owners])
    absent_BW = (1 - known_BW @ same_WW) * is_missing_W  # of each column one is known, or none
    return value_BW.nan_to_num(0.0) * x_BW.new_tensor(is_value) + known_BW * is_name_W + absent_BW


def _rows(n: int, covariate: Covariate, reader: Covariate) -> list[tuple[int, float, float, float, float, float]]:
    """Describe what becomes of column n: source, shift, scale, and whether it is a value, a name or a missing one."""
    if covariate.kind == "number":
        rows = [(n, covariate.mean, covariate.std, 1.0, 0.0, 0.0)]
    else:
        codes = [float(reader.categories.index(name)) for name in covariate.categories]
        rows = [(n, code, 1.0, 0.0, 1.0, 0.0) for code in codes]
    return [*rows, (n, -1.0, 1.0, 0.0, 0.0, 1.0)]
