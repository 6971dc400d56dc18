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

    1.0 where the data can't tell: no labels, a single class, or logits that separate the classes without an error
    (the likelihood then grows without end as the temperature falls).

    Args:
        margins: by how much each label's logit is on the right side.
        true: the labels, to see whether more than one occurs.
        loss: mean negative log-likelihood at a temperature.
    """
    distinct = len(np.unique(true)) > 1 and len(margins) and margins.any() and np.isfinite(margins).all()
    if not distinct or bool((margins > 0).all()):
        return 1.0
    bounds = (math.log(COLDEST), math.log(HOTTEST))
    fit = minimize_scalar(lambda t: loss(math.exp(t)), bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(math.exp(fit.x))
