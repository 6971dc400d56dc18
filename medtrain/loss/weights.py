"""Weights of labels, from how often each occurs in training.

Rarity of a label that occurs n times: 1/n (``inverse``), 1/sqrt(n) (``sqrt_inverse``), or (1 - beta)/(1 - beta^n)
(``effective_number``: Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019, eq. 2), which
lies between no weight (beta = 0) and ``inverse`` (beta -> 1). A label that never occurs is taken to occur once.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medtrain.target import LabelCounts

Scheme = Literal["inverse", "sqrt_inverse", "effective_number"]


def class_weights(counts: LabelCounts, scheme: Scheme = "inverse", beta: float = 0.999) -> NDArray[np.float64]:
    """Compute one weight a class, (C,), for a softmax; their mean over the counted cases is 1.

    ``inverse`` is scikit-learn's ``class_weight="balanced"``, where every class occurs.
    """
    rarity_C = _rarity(counts.positive, scheme, beta)
    total = (counts.positive * rarity_C).sum()
    return rarity_C * (counts.positive.sum() / total) if total > 0 else np.ones(len(rarity_C))


def positive_weights(counts: LabelCounts, scheme: Scheme = "inverse", beta: float = 0.999) -> NDArray[np.float64]:
    """Compute the weight of a positive label where a negative weighs 1, (C,); ``inverse``: negatives / positives."""
    return _rarity(counts.positive, scheme, beta) / _rarity(counts.negative, scheme, beta)


def _rarity(n: NDArray[Any], scheme: Scheme, beta: float) -> NDArray[np.float64]:
    n = np.maximum(np.asarray(n, np.float64), 1)
    if scheme == "inverse":
        return np.asarray(1 / n)
    if scheme == "sqrt_inverse":
        return np.asarray(1 / np.sqrt(n))
    return np.asarray((1 - beta) / (1 - beta**n))
