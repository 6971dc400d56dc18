"""Temperature scaling: one number by which logits are divided, fitted on validation data (Guo et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from medtrain.metric.bootstrap import Array

COLDEST, HOTTEST = 0.05, 20.0
SURE = 30.0
"""Logits from which on probabilities are not told apart: to float64, sigmoid(37) is 1."""


def softmax_temperature(logits_NK: npt.ArrayLike, class_N: npt.ArrayLike) -> float:
    """Fit the temperature of a softmax over K logits.

    Args:
        class_N: the true class's number; NaN or negative where unknown.
    """
    target = np.asarray(class_N, dtype=np.float64)
    known = target >= 0
    logits, true = np.asarray(logits_NK, dtype=np.float64)[known], target[known].astype(np.int64)
    rows, others = np.arange(len(true)), logits.copy()
    others[rows, true] = -np.inf
    margins = logits[rows, true] - others.max(axis=1, initial=-np.inf)
    return _fit(margins, true, lambda t: float(-log_softmax(logits / t, axis=1)[rows, true].mean()))


def sigmoid_temperature(logits_NK: npt.ArrayLike, labels_NK: npt.ArrayLike) -> float:
    """Fit the temperature of K sigmoids together.

    Args:
        labels_NK: 1, 0, NaN or negative where unknown.
    """
    logits, target = np.asarray(logits_NK, dtype=np.float64), np.asarray(labels_NK, dtype=np.float64)
    known = target >= 0
    true = target[known]
    margins = np.where(true > 0.5, 1.0, -1.0) * logits[known]
    return _fit(margins, true, lambda t: float(np.logaddexp(0, -margins / t).mean()))


def _fit(margins: Array, true: Array, loss: Callable[[float], float]) -> float:
    """Find the temperature of least negative log-likelihood (ibid., section 4.2), between 0.05 and 20.

    Logits beyond 20, as pools of many instances give them, may be divided by as much as the largest of them. 1.0 where
    the data can't tell: no labels, a single class, or logits that separate the classes without an error (the likelihood
    then grows without end as the temperature falls); more than that where sure cases would tie at a probability of 1.

    Args:
        margins: by how much each label's logit is on the right side.
        true: the labels, to see whether more than one occurs.
        loss: mean negative log-likelihood at a temperature.
    """
    largest = float(np.abs(margins).max(initial=0.0))
    distinct = len(np.unique(true)) > 1 and margins.any() and np.isfinite(largest)
    if not distinct or bool((margins > 0).all()):
        return max(1.0, largest / SURE) if np.isfinite(largest) else 1.0
    fit = _minimum(loss, COLDEST, HOTTEST)
    return _minimum(loss, HOTTEST / 2, largest) if fit > 0.999 * HOTTEST and largest > HOTTEST else fit


def _minimum(loss: Callable[[float], float], low: float, high: float) -> float:
    bounds = (math.log(low), math.log(high))
    fit = minimize_scalar(lambda t: loss(math.exp(t)), bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(math.exp(fit.x))
