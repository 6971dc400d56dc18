"""AUROC and average precision of many weightings of the same scores, from one sort.

The bootstrap asks for these two thousands of times, and each validation epoch asks once. The scores never change,
only the weights of the cases do; so the sort and the ties are worked out once. Both measures only need, at each
score that a positive case has, the weight of the positives there, of the negatives there, and of the negatives since
the last such score: sums of weights, which a sparse matrix gives for many weightings at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from medtrain.metric.bootstrap import Array

BLOCK = 32
LOWER = {dtype: np.tri(BLOCK, dtype=dtype) for dtype in (np.dtype(np.float32), np.dtype(np.float64))}


class Ranking:
    """Scores sorted once, ready for any weights.

    Args:
        scores_M: higher means more likely positive.
        target_M: true where positive.
        cases_M: which column of the weights each entry has; None: entry i has column i. (Pooling several labels
            of a case for a micro average repeats its column; leaving out unknown labels skips columns.)

    Attributes:
        rows_M: the sum that each entry belongs to. Of K scores that have a positive, descending: K sums of positives,
            K + 1 of the negatives before each and after the last, and, where there are ties, K of those at each. K is
            filled up with empty ones to a multiple of `BLOCK`.
        n_rows: how many sums.
    """

    def __init__(self, scores_M: Array, target_M: Array, cases_M: Array | None = None) -> None:
        scores_M, positive_M = np.asarray(scores_M), np.asarray(target_M, dtype=bool)
        self.cases_M = np.arange(len(scores_M)) if cases_M is None else np.asarray(cases_M)
        distinct, score_M = np.unique(-scores_M, return_inverse=True)
        has_positive = np.bincount(score_M[positive_M], minlength=len(distinct)) > 0
        through = np.cumsum(has_positive)  # scores with a positive, as high as each or higher
        used = int(has_positive.sum())
        self.width = k = -(-used // BLOCK) * BLOCK
        tied_M = has_positive[score_M] & ~positive_M
        self.rows_M = np.where(positive_M, through[score_M] - 1, k + through[score_M])
        self.rows_M[tied_M] = 2 * k + through[score_M[tied_M]]
        self.n_rows = (3 if tied_M.any() else 2) * k + 1

    def auroc_and_ap(self, weights_RN: Array) -> tuple[Array, Array]:
        """Compute weighted AUROC and average precision of each row of weights; NaN where undefined.

        AUROC is the Mann-Whitney probability with ties counted half (Hanley & McNeil 1982); average precision is
        the sum of precision times gain in recall, tied scores taken together. Both equal scikit-learn's
        `roc_auc_score` and `average_precision_score` with ``sample_weight``. AUROC needs weight on both classes,
        average precision on the positives.
        """
        shape = (self.n_rows, weights_RN.shape[1])
        sums = csr_array((np.ones(len(self.rows_M)), (self.rows_M, self.cases_M)), shape=shape)
        return self.areas(sums @ np.ascontiguousarray(weights_RN.T, dtype=np.float64))

    def areas(self, sums_KR: Array) -> tuple[Array, Array]:
        """Compute `auroc_and_ap` from the sums of the weights (see `rows_M`)."""
        k = self.width
        if not k:
            nothing = np.full(sums_KR.shape[1], np.nan)
            return nothing, nothing
        positive, before, tied = sums_KR[:k], sums_KR[k : 2 * k + 1], sums_KR[2 * k + 1 :]
        true, above = _cumulative(positive), _cumulative(before[:k])
        last = before[k].astype(np.float64)
        below_or_tied = above
        if len(tied):
            ties = _cumulative(tied)
            below_or_tied = above + ties
            above = below_or_tied - tied / 2  # a negative of the same score is half above
        sum_positive, sum_negative = true[-1].astype(np.float64), below_or_tied[-1] + last
        everything = np.maximum(true + below_or_tied, np.finfo(true.dtype).tiny)
        gained = _total(positive * (true / everything))
        lost = _total(positive * above)
        return 1 - ratio(lost, sum_positive * sum_negative), ratio(gained, sum_positive)


def auroc(scores: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Compute the area under the ROC curve, quickly enough for each validation epoch.

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
    """Divide element by element, NaN where `below` is not positive."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    return np.asarray(np.divide(above, below, out=np.full(shape, np.nan), where=np.asarray(below) > 0))


def _cumulative(rows_KR: Array) -> Array:
    """Cumulate sums down the rows, K a multiple of `BLOCK`: matrix products do it far faster than `np.cumsum`."""
    blocks = rows_KR.reshape(-1, BLOCK, rows_KR.shape[1])
    within: Array = LOWER[rows_KR.dtype] @ blocks
    ends = np.cumsum(within[:, -1], axis=0)
    np.add(within[1:], ends[:-1, None], out=within[1:])
    return within.reshape(rows_KR.shape)


def _total(rows_KR: Array) -> Array:
    """Sum each column, in single precision within blocks, in double from there on."""
    return np.asarray(rows_KR.reshape(-1, BLOCK, rows_KR.shape[1]).sum(axis=1).sum(axis=0, dtype=np.float64))
