"""The AUROC of a cross-validation: cases are compared within their fold only.

Each fold has a network of its own, and two networks need not mean the same by 0.7. Pooled over folds, a positive case
of one network is ranked against negatives of another, and the AUROC falls below that of any of the networks (Airola et
al., Computational Statistics & Data Analysis 2011; Forman & Scholz, SIGKDD Explorations 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medtrain.metric.bootstrap import Array, patient_counts, percentile_interval
from medtrain.metric.classification import Cases
from medtrain.metric.options import EvalOptions
from medtrain.metric.ranking import Ranking


def within_folds(
    folds: Sequence[Cases], pooled: Cases, of_whole: Sequence[int], options: EvalOptions
) -> dict[str, Any]:
    """Compute the AUROC within folds, and by how much the pooled one differs, with intervals over patients.

    Of all pairs of a positive and a negative case in the same fold: the share in which the positive one has the higher
    probability, ties counting half; so folds are weighted by their pairs. A fold of one class has no pair.

    Args:
        folds: the cases of every fold, of all repeats.
        pooled: all cases once, with the probabilities whose pooled AUROC it is compared with.
        of_whole: the numbers of the classes whose mean the whole is; those without a pair are left out.
        options: replicates and their seed.

    Returns:
        ``{"auroc": ENTRY, "per_class": {CLASS: ENTRY}, "pooled_minus_within": ENTRY}``, entries with value and ci95.
    """
    names, index_N = np.unique([str(patient) for patient in _patients(pooled)], return_inverse=True)
    number = {str(name): n for n, name in enumerate(names)}
    parts = [(fold, np.array([number[str(p)] for p in _patients(fold)], np.int64)) for fold in folds]
    classes = range(len(pooled.classes))
    within = [_Within([_ranked(fold, c, patients) for fold, patients in parts]) for c in classes]
    together = [_Within([_ranked(pooled, c, index_N)]) for c in classes]

    def statistics(weights_RP: Array) -> Array:
        """Compute rows of within-fold AUROC a class, of the whole, and of pooled minus within."""
        within_CR, pooled_CR = (np.stack([one.auroc(weights_RP) for one in each]) for each in (within, together))
        whole_R, pooled_R = (_mean(values[list(of_whole)]) for values in (within_CR, pooled_CR))
        return np.stack([*within_CR, whole_R, pooled_R - whole_R])

    values_K = statistics(np.ones((1, len(names))))[:, 0]
    counts = patient_counts(len(names), options.bootstrap if len(names) > 1 else 0, options.seed)
    drawn = [statistics(counts_RP.astype(np.float64)) for counts_RP in counts]
    replicates_KR = np.concatenate(drawn, axis=1) if drawn else np.empty((len(values_K), 0))
    entries = [_entry(float(v), row_R, len(names)) for v, row_R in zip(values_K, replicates_KR, strict=True)]
    per_class = dict(zip(pooled.classes, entries, strict=False))
    return {"auroc": entries[-2], "per_class": per_class, "pooled_minus_within": entries[-1]}


class _Within:
    """One class against the rest in several folds, sorted once.

    Args:
        folds: scores, whether positive, and the number of the patient, of the cases of each fold.
    """

    def __init__(self, folds: Sequence[tuple[Array, Array, Array]]) -> None:
        self.folds = [
            (Ranking(score_N, positive_N), positive_N, patient_N)
            for score_N, positive_N, patient_N in folds
            if 0 < positive_N.sum() < len(positive_N)
        ]

    def auroc(self, weights_RP: Array) -> Array:
        """Compute the share of pairs in order, [R], for weights of the patients; NaN without a pair."""
        right_R, pairs_R = np.zeros(len(weights_RP)), np.zeros(len(weights_RP))
        for ranking, positive_N, patient_N in self.folds:
            weights_RN = weights_RP[:, patient_N]
            own_R = weights_RN[:, positive_N].sum(axis=1) * weights_RN[:, ~positive_N].sum(axis=1)
            right_R += np.nan_to_num(ranking.auroc_and_ap(weights_RN)[0]) * own_R
            pairs_R += own_R
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(pairs_R > 0, right_R / pairs_R, np.nan)


def _ranked(cases: Cases, c: int, patient_N: Array) -> tuple[Array, Array, Array]:
    known = np.isfinite(cases.target_NC[:, c])
    return cases.probs_NC[known, c], cases.target_NC[known, c] > 0.5, patient_N[known]


def _patients(cases: Cases) -> Sequence[Any]:
    return range(len(cases.probs_NC)) if cases.patients is None else cases.patients


def _mean(values_CR: Array) -> Array:
    """Average over the classes that have a value in any replicate."""
    some = values_CR[np.isfinite(values_CR).any(axis=1)]
    return np.asarray(some.mean(axis=0) if len(some) else np.full(values_CR.shape[1], np.nan))


def _entry(value: float, values_R: Array, patients: int) -> dict[str, Any]:
    if not np.isfinite(value):
        return {"value": None, "ci95": None}
    span = percentile_interval(values_R, patients=patients)
    return {"value": value, "ci95": None if span is None else list(span)}
