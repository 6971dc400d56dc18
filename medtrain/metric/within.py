"""The AUROC of a cross-validation: cases are compared within their fold only.

Each fold has a network of its own, and two networks need not mean the same by 0.7. Pooled over folds, a positive case
of one network is ranked against negatives of another, and the AUROC falls below that of any of the networks (Airola et
al., Computational Statistics & Data Analysis 2011; Forman & Scholz, SIGKDD Explorations 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medtrain.metric.area import auroc_limits
from medtrain.metric.bootstrap import Array, patient_counts, patient_index
from medtrain.metric.classification import Cases
from medtrain.metric.interval import NOTHING, Form, averaged, correlation, missing, real, spread, write
from medtrain.metric.limits import UNBOUNDED
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
        within_CR, pooled_CR = (np.stack([one.auroc(weights_RP) for one in areas]) for areas in (within, together))
        whole_R, pooled_R = (_mean(values[list(of_whole)]) for values in (within_CR, pooled_CR))
        return np.stack([*within_CR, whole_R, pooled_R - whole_R])

    values_K = statistics(np.ones((1, len(names))))[:, 0]
    counts = patient_counts(len(names), options.bootstrap if len(names) > 1 else 0, options.seed)
    drawn = [statistics(counts_RP.astype(np.float64)) for counts_RP in counts]
    replicates_KR = np.concatenate(drawn, axis=1) if drawn else np.empty((len(values_K), 0))
    forms: list[Form | None] = [None] * len(values_K)
    if options.bootstrap:
        of_classes = [
            _form(*one, within[c].behind, len(names)) for c, one in enumerate(_rows(values_K, replicates_KR)[:-2])
        ]
        part = [c for c in of_whole if np.isfinite(values_K[c])]
        forms = [*of_classes, _mean_form(values_K, of_classes, replicates_KR, part), None]
        limits = real(values_K[-1], spread(replicates_KR[-1], len(names)), len(names))
        forms[-1] = Form(limits, (len(names),), UNBOUNDED)
    entries = [write(v, form, row_R) for (v, row_R), form in zip(_rows(values_K, replicates_KR), forms, strict=True)]
    per_class = dict(zip(pooled.classes, entries, strict=False))
    return {"auroc": entries[-2], "per_class": per_class, "pooled_minus_within": entries[-1]}


def draw_within(
    cases: Cases, fold_N: Array, of_whole: Sequence[int], options: EvalOptions
) -> tuple[dict[str | None, float], dict[str | None, Array]]:
    """Compute the AUROC within folds and its replicates over patients, as they are drawn for other metrics.

    Args:
        cases: of all folds.
        fold_N: the number of the fold that tested each case.
        of_whole, options: as `within_folds` takes them.

    Returns:
        {class, or None for the whole: value}, NaN without a pair; {likewise: values_R}, {} without replicates.
    """
    patient_N, patients = patient_index(cases.patients, len(fold_N))
    names: list[str | None] = [*cases.classes, None]
    parts = [np.flatnonzero(fold_N == fold) for fold in np.unique(fold_N)]
    areas = []
    for c in range(len(cases.classes)):
        score_N, target_N = cases.probs_NC[:, c], cases.target_NC[:, c]
        own = [rows[np.isfinite(target_N[rows])] for rows in parts]
        areas.append(_Within([(score_N[rows], target_N[rows] > 0.5, patient_N[rows]) for rows in own]))

    def statistics(weights_RP: Array) -> Array:
        of_classes_CR = np.stack([area.auroc(weights_RP) for area in areas])
        return np.stack([*of_classes_CR, _mean(of_classes_CR[list(of_whole)])])

    values_K = statistics(np.ones((1, patients)))[:, 0]
    counts = patient_counts(patients, options.bootstrap if patients > 1 else 0, options.seed)
    drawn = [statistics(counts_RP.astype(np.float64)) for counts_RP in counts]
    replicates_KR = np.concatenate(drawn, axis=1) if drawn else None
    values = dict(zip(names, values_K.tolist(), strict=True))
    return values, {} if replicates_KR is None else dict(zip(names, replicates_KR, strict=True))


def _rows(values_K: Array, replicates_KR: Array) -> list[tuple[float, Array]]:
    return [(float(value), row_R) for value, row_R in zip(values_K, replicates_KR, strict=True)]


def _form(value: float, values_R: Array, behind: tuple[int, int], patients: int) -> Form:
    """Give the form of one class's area: as that of an AUROC, its spread from replicates."""
    if not np.isfinite(value) or min(behind) < 2:
        return Form(NOTHING, behind)
    return Form(auroc_limits(value, spread(values_R, patients), *behind), behind)


def _mean_form(values_K: Array, forms: Sequence[Form], replicates_KR: Array, part: Sequence[int]) -> Form:
    """Give the form of the mean over some classes; without an interval where one of them has none."""
    if len(part) == 1:
        return forms[part[0]]
    for c in part:
        if reason := missing(float(values_K[c]), forms[c], replicates_KR[c]):
            return Form(NOTHING, reason=reason)
    if not part:
        return Form(NOTHING)
    limits_C2 = np.array([forms[c].limits for c in part])
    return Form(averaged(values_K[list(part)], limits_C2, correlation([replicates_KR[c] for c in part])))


class _Within:
    """One class against the rest in several folds, sorted once.

    Args:
        folds: scores, whether positive, and the number of the patient, of the cases of each fold.

    Attributes:
        behind: patients with a positive, and with a negative case in a fold that has pairs.
    """

    def __init__(self, folds: Sequence[tuple[Array, Array, Array]]) -> None:
        folds = [fold for fold in folds if 0 < fold[1].sum() < len(fold[1])]
        sides = [(patient_N[positive_N], patient_N[~positive_N]) for _, positive_N, patient_N in folds]
        positive, negative = ({n for one in sides for n in one[side].tolist()} for side in (0, 1))
        self.behind = len(positive), len(negative)
        self.folds = [(Ranking(score_N, positive_N), positive_N, patient_N) for score_N, positive_N, patient_N in folds]

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
