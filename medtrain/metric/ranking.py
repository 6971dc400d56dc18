"""AUROC and average precision of many weightings of the same scores, from one sort.

The bootstrap asks for these two thousands of times, and each validation epoch asks once. The scores never change,
only the weights of the cases do; so the sort and the ties are worked out once and a weighting costs one cumulative
sum. Both measures only need, at each positive case, the weight of what scores higher and of what scores the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medtrain.metric.bootstrap import CHUNK, Array


class Ranking:
    """Scores sorted once, ready for any weights.

    Args:
        scores_M: higher means more likely positive.
        target_M: true where positive.
        cases_M: which column of the weights each entry has; None: entry i has column i. (Pooling several labels
            of a case for a micro average repeats its column; leaving out unknown labels skips columns.)
    """

    def __init__(self, scores_M: Array, target_M: Array, cases_M: Array | None = None) -> None:
        scores_M, target_M = np.asarray(scores_M), np.asarray(target_M, dtype=bool)
        order = np.argsort(-scores_M, kind="stable")
        scores, positive = scores_M[order], target_M[order]
        self._cases = order if cases_M is None else np.asarray(cases_M)[order]
        self._at = np.flatnonzero(positive)
        self._before, self._through = _tie_bounds(scores, self._at)
        self._positives_before = np.searchsorted(self._at, self._before)
        self._positives_through = np.searchsorted(self._at, self._through)

    def auroc_and_ap(self, weights_RN: Array) -> tuple[Array, Array]:
        """Weighted AUROC and average precision of each row of weights; NaN where undefined.

        AUROC is the Mann-Whitney probability with ties counted half (Hanley & McNeil 1982); average precision is
        the sum of precision times gain in recall, tied scores taken together. Both equal scikit-learn's
        `roc_auc_score` and `average_precision_score` with ``sample_weight``. AUROC needs weight on both classes,
        average precision on the positives.
        """
        rows = max(1, CHUNK // max(1, len(self._cases)))
        parts = [self._rows(weights_RN[i : i + rows]) for i in range(0, len(weights_RN), rows)]
        return np.concatenate([a for a, _ in parts]), np.concatenate([p for _, p in parts])

    def _rows(self, weights_RN: Array) -> tuple[Array, Array]:
        weights_RM = weights_RN[:, self._cases]
        total_RM = _cumulative(weights_RM)
        positive_RK = weights_RM[:, self._at]
        true_RK = _cumulative(positive_RK)
        all_before, all_through = total_RM[:, self._before], total_RM[:, self._through]
        true_before, true_through = true_RK[:, self._positives_before], true_RK[:, self._positives_through]
        sum_positive = true_RK[:, -1]
        sum_negative = total_RM[:, -1] - sum_positive
        precision = np.divide(true_through, all_through, out=np.zeros_like(true_through), where=all_through > 0)
        gained = np.einsum("rk,rk->r", positive_RK, precision)
        false_above = all_before - true_before + all_through - true_through  # twice: half for ties
        lost = np.einsum("rk,rk->r", positive_RK, false_above) / 2
        return 1 - ratio(lost, sum_positive * sum_negative), ratio(gained, sum_positive)


def auroc(scores: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Area under the ROC curve, quick enough for each validation epoch.

    Args:
        scores: [N] or [N, 1] for the positive class, [N, 2] binary (the last column counts), or [N, C].
        target: [N] of 0/1 (binary) or class numbers (multiclass: one class against the rest, then the mean), or
            [N, C] of 0/1 (multilabel: the mean). NaN or negative: unknown, left out.

    Returns:
        The AUROC; the mean over classes leaves out classes without a positive or without a negative. NaN when
        nothing is defined or a score is NaN.
    """
    scores_NC, target_N = np.asarray(scores, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if not np.isfinite(scores_NC).all():
        return float("nan")
    if target_N.ndim == 2 and target_N.shape[1] == 1:
        target_N = target_N[:, 0]
    if target_N.ndim == 2:
        columns = [_one(scores_NC[:, c], target_N[:, c]) for c in range(target_N.shape[1])]
    elif scores_NC.ndim == 2 and scores_NC.shape[1] > 2:
        known = target_N >= 0
        scores_NC, target_N = scores_NC[known], target_N[known]
        columns = [_one(scores_NC[:, c], (target_N == c).astype(float)) for c in range(scores_NC.shape[1])]
    else:
        columns = [_one(scores_NC.reshape(len(target_N), -1)[:, -1], target_N)] if len(target_N) else []
    defined = [value for value in columns if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _one(scores_N: Array, target_N: Array) -> float:
    known = target_N >= 0
    ranking = Ranking(scores_N[known], target_N[known] > 0)
    return float(ranking.auroc_and_ap(np.ones((1, int(known.sum()))))[0][0])


def ratio(above: Array, below: Array) -> Array:
    """above / below, NaN where below is not positive."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    return np.asarray(np.divide(above, below, out=np.full(shape, np.nan), where=np.asarray(below) > 0))


def _cumulative(weights_RM: Array) -> Array:
    out = np.zeros((weights_RM.shape[0], weights_RM.shape[1] + 1))
    np.cumsum(weights_RM, axis=1, out=out[:, 1:])
    return out


def _tie_bounds(scores: Array, at: Array) -> tuple[Array, Array]:
    """For descending scores: how many are strictly above scores[at], and how many at least as high."""
    changes = np.flatnonzero(np.diff(scores)) + 1
    starts, ends = np.concatenate([[0], changes]), np.concatenate([changes, [len(scores)]])
    group = np.searchsorted(changes, at, side="right")
    return starts[group], ends[group]
