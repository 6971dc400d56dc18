"""Points of ROC and precision-recall curves, one a distinct score, as scikit-learn has them.

They are written here because importing scikit-learn's metrics takes longer than drawing a small run's whole report.
"""

from __future__ import annotations

import numpy as np

from medtrain.metric.bootstrap import Array


def roc_points(target_N: Array, score_N: Array) -> tuple[Array, Array]:
    """Compute false and true positive rates by falling threshold, from (0, 0); points on a line between others go.

    Args:
        target_N: 0 or 1, of both some.
    """
    true_K, false_K = _counts(target_N, score_N)
    if len(true_K) > 2:
        corner_K = np.r_[True, (np.diff(false_K, 2) != 0) | (np.diff(true_K, 2) != 0), True]
        true_K, false_K = true_K[corner_K], false_K[corner_K]
    return np.r_[0.0, false_K] / false_K[-1], np.r_[0.0, true_K] / true_K[-1]


def precision_points(target_N: Array, score_N: Array) -> tuple[Array, Array]:
    """Compute precision and recall by rising threshold, to (1, 0); arguments as of `roc_points`."""
    true_K, false_K = _counts(target_N, score_N)
    precision_K, recall_K = true_K / (true_K + false_K), true_K / true_K[-1]
    return np.r_[precision_K[::-1], 1.0], np.r_[recall_K[::-1], 0.0]


def _counts(target_N: Array, score_N: Array) -> tuple[Array, Array]:
    """Count true and false positives at or above each distinct score, from the highest on."""
    order = np.argsort(-score_N, kind="stable")
    last_K = np.r_[np.flatnonzero(np.diff(score_N[order])), len(order) - 1]
    true_K = np.cumsum(target_N[order] > 0, dtype=np.float64)[last_K]
    return true_K, 1 + last_K - true_K
