"""Labels of any kind as one column a class, and how many there are: what losses and tables weigh classes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.spec import LabelKind


@dataclass(frozen=True)
class LabelCounts:
    """Labels of a split; each an int64 array with one entry a class, a binary problem's negative class too.

    Args:
        positive: cases that have the class.
        negative: cases known not to have it.
        unknown: cases of which nobody knows.
    """

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    unknown: NDArray[np.int64]


def indicators(kind: LabelKind, n_classes: int, targets: NDArray[Any]) -> NDArray[np.float64]:
    """labels_NC: 1 where a case has the class, 0 where it has not, NaN where that is unknown.

    Args:
        targets: binary (N,) of 0, 1, NaN; multiclass (N,) class numbers, negative where unknown; multilabel and boxes
            (which classes an image shows) (N, C).
    """
    values = np.asarray(targets, np.float64)
    if kind in ("multilabel", "boxes"):
        return values
    known = values >= 0  # NaN is not
    labels_NC = np.full((len(values), n_classes), np.nan)
    labels_NC[known] = np.eye(n_classes)[values[known].astype(np.int64)]
    return labels_NC


def count_labels(kind: LabelKind, n_classes: int, targets: NDArray[Any]) -> LabelCounts:
    """Count the labels of a split; arguments as `indicators` takes them."""
    labels_NC = indicators(kind, n_classes, targets)
    return LabelCounts((labels_NC == 1).sum(0), (labels_NC == 0).sum(0), np.isnan(labels_NC).sum(0))
