"""How many cases have each class, have it not, or are unknown: what losses and tables weigh classes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelCounts:
    """Counts of a split's labels; each an int64 array with one entry a class, a binary problem's negative class too.

    Args:
        positive: cases that have the class.
        negative: cases known not to have it.
        unknown: cases of which nobody knows.
    """

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    unknown: NDArray[np.int64]

    @classmethod
    def of(cls, labels_NC: NDArray[Any]) -> LabelCounts:
        """Count indicators: 1 where a case has the class, 0 where it has not, NaN where that is unknown."""
        return cls((labels_NC == 1).sum(0), (labels_NC == 0).sum(0), np.isnan(labels_NC).sum(0))
