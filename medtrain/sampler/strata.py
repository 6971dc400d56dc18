"""Helpers of samplers against imbalance: the cases that are drawn from together, and numbers of the draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import UsageError

Positions = NDArray[np.int64]


def strata(labels: Any) -> list[Positions]:
    """List positions of each class that occurs; last, for several labels a case, those known to have none of them.

    A case of several positive labels stands in several strata; one without a known label stands in none.

    Args:
        labels: (N,) class numbers or 0/1, negative or NaN where unknown; (N, C) of 0, 1, NaN.

    Raises:
        UsageError: no label is known.
    """
    values = np.asarray(labels)
    if values.ndim == 2:
        has_NC = values == 1
        masks = [*has_NC.T, ~has_NC.any(1) & (values == 0).any(1)]
    else:
        masks = [values == name for name in np.unique(values[values >= 0])]
    positions = [np.flatnonzero(mask) for mask in masks if mask.any()]
    if not positions:
        raise UsageError("sampler: no case of the training split has a known label; sampler=shuffle needs none")
    return positions


def patients(groups: Any, n: int) -> Positions:
    """Number patients from 0, (N,); each case is its own where there are no groups."""
    if groups is None:
        return np.arange(n)
    return np.asarray(np.unique(np.asarray(groups), return_inverse=True)[1]).reshape(-1)


def draw_numbers(drawn: Positions) -> Positions:
    """Count how often each drawn position came before: 0 for its first draw, 1 for its second, ..."""
    order = np.argsort(drawn, kind="stable")
    ordered = drawn[order]
    first = np.searchsorted(ordered, ordered, side="left")
    numbers = np.empty(len(drawn), np.int64)
    numbers[order] = np.arange(len(drawn)) - first
    return numbers


def batches_of(length: int | None, n: int, batch_size: int, world: int) -> int:
    """Count batches a rank and epoch: whole ones that together hold at least `length` images (None: n)."""
    return -(-(length or n) // (batch_size * world))
