"""How good a model is on the cases that it is sure of: what is left when the least certain go to a person.

The risk-coverage curve (El-Yaniv & Wiener, On the foundations of noise-free selective classification, JMLR 2010),
with every metric in place of the risk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from medtrain.metric.bootstrap import Array
from medtrain.metric.classification import evaluate

SHARES = tuple(round(1 - 0.05 * i, 2) for i in range(11))
"""1.0, 0.95 ... 0.5 of the cases are kept."""
_TINY = 1e-12


def abstention_curve(
    kind: str,
    probs_NC: npt.ArrayLike,
    targets: npt.ArrayLike,
    predictions: npt.ArrayLike,
    classes: Sequence[str],
    uncertainty: npt.ArrayLike,
    shares: Sequence[float] = SHARES,
) -> list[dict[str, Any]]:
    """The metrics of `evaluate`, without intervals, when only the most certain share of cases is kept.

    Args:
        kind, probs_NC, targets, predictions, classes: as `evaluate` takes them.
        uncertainty: [N], high where unsure; multilabel [N, C]: each label is kept or left by its own.
        shares: of the cases with a known label; rounded up to whole cases. Of equals the first are kept.

    Returns:
        ``[{"kept", "n_cases", "metrics": {NAME: {"value", "ci95"}}}]``, a row a share; ``n_cases`` have a label left.
    """
    target = np.asarray(targets, np.float64)
    doubt_NC = np.asarray(uncertainty, np.float64).reshape(len(target), -1)
    known_NC = (target >= 0).reshape(len(target), -1)
    rank_NC = _ranks(np.where(known_NC, doubt_NC, np.inf))
    rows = []
    for share in shares:
        limit_C = [math.ceil(share * n - 1e-9) for n in known_NC.sum(axis=0)]
        kept_NC = known_NC & (rank_NC < limit_C)
        kept_target = np.where(kept_NC.reshape(target.shape), target, np.nan)
        metrics = evaluate(kind, probs_NC, kept_target, predictions, classes, bootstrap=0)["metrics"]
        rows.append({"kept": share, "n_cases": int(kept_NC.any(axis=1).sum()), "metrics": metrics})
    return rows


def _ranks(doubt_NC: Array) -> Array:
    """The place of each entry in its column, the smallest first."""
    return np.asarray(np.argsort(np.argsort(doubt_NC, axis=0, kind="stable"), axis=0, kind="stable"))


def doubt(kind: str, probs_NC: npt.ArrayLike, thresholds: npt.ArrayLike = ()) -> Array:
    """Uncertainty where there is a single prediction a case: how near it is to the decision, 0 on it, else negative.

    Binary [N] and multilabel [N, C]: the distance to the threshold in log-odds, so that both sides of a threshold near
    0 or 1 count alike. Multiclass [N]: by how much the most probable class leads the next.

    Args:
        thresholds: of the positive class, or one a class; [N, ...] where each case has its own.
    """
    probs = np.asarray(probs_NC, np.float64)
    if kind == "multiclass":
        ordered = np.sort(probs, axis=1)
        return np.asarray(ordered[:, -2] - ordered[:, -1])
    limits = np.clip(np.asarray(thresholds, np.float64), _TINY, 1 - _TINY)
    columns = probs[:, -1:] if kind == "binary" else probs
    distance_NC = -np.abs(logit(np.clip(columns, _TINY, 1 - _TINY)) - logit(limits))
    return np.asarray(distance_NC[:, 0] if kind == "binary" else distance_NC)


def spread(kind: str, probs_NSC: npt.ArrayLike, predictions: npt.ArrayLike) -> Array:
    """Uncertainty by several predictions a case: their standard deviation (n - 1).

    Args:
        probs_NSC: probabilities of S members or passes.
        predictions: multiclass [N] class numbers.

    Returns:
        Binary [N]: of the positive class's probability. Multiclass [N]: of the predicted class's. Multilabel [N, C].
    """
    sd_NC = np.std(np.asarray(probs_NSC, np.float64), axis=1, ddof=1)
    if kind == "multilabel":
        return np.asarray(sd_NC)
    if kind == "binary":
        return np.asarray(sd_NC[:, -1])
    return np.asarray(sd_NC[np.arange(len(sd_NC)), np.asarray(predictions, np.int64)])
