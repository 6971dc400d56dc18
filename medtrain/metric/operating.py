"""The effect of a threshold: counts at every operating point of a grid, and their intervals.

A ROC curve with its band, a precision-recall curve and a threshold that a reader may slide are the same numbers seen
three ways: true and false positives at some thresholds, in the data and in each bootstrap replicate over patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medtrain.metric.binary import sensitivity, specificity
from medtrain.metric.bootstrap import Array, patient_index
from medtrain.metric.classification import predictive
from medtrain.metric.interval import missing, rising
from medtrain.metric.ranking import ratio
from medtrain.metric.share import share_forms
from medtrain.metric.sheet import SHARES

Rates = Callable[[Array, Array, Array, Array], Array]
CELLS = 2_000_000  # counts by threshold and patient that are held at a time


@dataclass(frozen=True)
class OperatingPoints:
    """One class against the rest at T ascending thresholds; a case is positive from the threshold on.

    Args:
        thresholds_T: ascending.
        counts_T4: true positives, false positives, false negatives, true negatives.
        limits: {rate: limits_T2} of sensitivity, specificity, ppv and npv over patients, as in test_metrics.json;
            NaN where there is no interval.
    """

    thresholds_T: Array
    counts_T4: Array
    limits: dict[str, Array]

    def rate(self, name: str) -> tuple[Array, Array]:
        """Give a rate, [T], and its 95 % intervals [T, 2]; NaN: undefined.

        Args:
            name: sensitivity, specificity, ppv or npv; ``even_ppv`` and ``even_npv`` are those if half of the cases
                were positive.
        """
        counts = np.moveaxis(self.counts_T4, -1, 0)
        if name in EVEN:
            of = EVEN[name]
            pair = [np.column_stack([f(*counts), self.limits[f.__name__]]) for f in (sensitivity, specificity)]
            limits_T2 = rising(of, *pair)
            unknown = np.isnan(pair[0]).any(axis=1) | np.isnan(pair[1]).any(axis=1)
            return of(pair[0][:, 0], pair[1][:, 0]), np.where(unknown[:, None], np.nan, limits_T2)
        counted, everything = SHARES[name]
        values_T = ratio(counts[list(counted)].sum(axis=0), counts[list(everything)].sum(axis=0))
        return values_T, self.limits[name]


def even_ppv(sensitivity: Array, specificity: Array) -> Array:
    """Compute the PPV if half of the cases were positive: v = Se / (Se + 1 - Sp).

    Bayes' theorem gives the PPV at prevalence p from it, v p / (v p + (1 - v)(1 - p)). That rises with v, so it turns
    an interval of v into one of the PPV at any prevalence.
    """
    return predictive(sensitivity, specificity, 0.5)[0]


def even_npv(sensitivity: Array, specificity: Array) -> Array:
    """Compute the NPV if half of the cases were positive: w = Sp / (Sp + 1 - Se); see `even_ppv`."""
    return predictive(sensitivity, specificity, 0.5)[1]


EVEN = {"even_ppv": even_ppv, "even_npv": even_npv}
RATES = ("sensitivity", "specificity", "ppv", "npv")


def operating_points(
    scores_N: Array,
    target_N: Array,
    patients: Sequence[Any] | None,
    thresholds: Array | None = None,
    everyone: int = 0,
) -> OperatingPoints:
    """Count the decisions of one class against the rest at some thresholds.

    Args:
        scores_N: probabilities of the class.
        target_N: 1 or 0, nothing unknown.
        patients: of each case; None makes each case its own.
        thresholds: by default `threshold_grid`'s.
        everyone: patients of the test, those without a label of this class too.
    """
    scores_N, positive_N = np.asarray(scores_N, float), np.asarray(target_N) > 0.5
    thresholds_T = np.sort(
        threshold_grid(scores_N, positive_N) if thresholds is None else np.asarray(thresholds, float)
    )
    patient_N, n_patients = patient_index(patients, len(scores_N))
    n_patients = max(n_patients, everyone)
    step_N = np.searchsorted(thresholds_T, scores_N, side="right")  # thresholds that the case reaches
    everything_2P = _by_patient(positive_N, patient_N, n_patients)
    counts_T4, limits = [], {name: [] for name in RATES}  # type: ignore[var-annotated]
    width = max(1, CELLS // max(1, n_patients))
    for start in range(0, len(thresholds_T), width):
        counts_4TP = _counts(step_N, positive_N, patient_N, everything_2P, start, min(width, len(thresholds_T) - start))
        counts_T4.append(counts_4TP.sum(axis=2).T)
        for name in RATES:
            limits[name].append(_limits(counts_4TP, name))
    return OperatingPoints(
        thresholds_T,
        np.concatenate([*counts_T4, np.empty((0, 4))]),
        {name: np.concatenate([*parts, np.empty((0, 2))]) for name, parts in limits.items()},
    )


def _by_patient(positive_N: Array, patient_N: Array, n_patients: int) -> Array:
    """Count the positive and the negative cases of each patient, (2, P)."""
    return np.stack([np.bincount(patient_N[own], minlength=n_patients) for own in (positive_N, ~positive_N)])


def _counts(step_N: Array, positive_N: Array, patient_N: Array, everything_2P: Array, start: int, width: int) -> Array:
    """Count cases of the four kinds at thresholds start, start + 1 ... by patient, (4, width, P)."""
    n_patients = everything_2P.shape[1]
    reached_2TP = []
    for own in (positive_N, ~positive_N):
        last_N = np.minimum(step_N[own] - start, width)  # thresholds of these that each reaches
        reaches = last_N > 0
        cell = (last_N[reaches] - 1) * n_patients + patient_N[own][reaches]
        counted = np.bincount(cell, minlength=width * n_patients).reshape(width, n_patients)
        reached_2TP.append(np.cumsum(counted[::-1], axis=0)[::-1])
    (tp, fp), (positive_P, negative_P) = reached_2TP, everything_2P
    return np.stack([tp, fp, positive_P - tp, negative_P - fp]).astype(np.float64)


def _limits(counts_4TP: Array, name: str) -> Array:
    """Compute the limits of a rate at each threshold, (T, 2); NaN where `missing` has a reason."""
    counted, everything = (counts_4TP[list(cells)].sum(axis=0) for cells in SHARES[name])
    values_T, forms = share_forms(counted, everything)
    unknown_T = [np.isnan(value) or bool(missing(value, form)) for value, form in zip(values_T, forms, strict=True)]
    return np.where(np.array(unknown_T)[:, None], np.nan, [form.limits for form in forms])


def threshold_grid(scores_N: Array, target_N: Array, size: int = 200, keep: Sequence[float] = ()) -> Array:
    """Choose at most `size` ascending thresholds that change something: even steps through both classes' scores.

    Rounded to four digits, so that a threshold that a reader copies from a page gives the counts that it showed.

    Args:
        keep: thresholds that must be there, exactly.
    """
    share = np.linspace(0, 1, max(2, (size - len(keep)) // 2))
    positive_N = np.asarray(target_N) > 0.5
    parts = [scores_N[positive_N], scores_N[~positive_N]]
    quantiles = [np.quantile(part, share, method="nearest") for part in parts if len(part)]
    rounded = [float(f"{t:.4g}") for t in np.unique(np.concatenate([*quantiles, np.empty(0)]))]
    return np.unique([*rounded, *keep])
