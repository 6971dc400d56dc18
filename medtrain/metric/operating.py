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
from medtrain.metric.bootstrap import Array, patient_weights
from medtrain.metric.classification import predictive

Rates = Callable[[Array, Array, Array, Array], Array]


@dataclass(frozen=True)
class OperatingPoints:
    """One class against the rest at T ascending thresholds; a case is positive from the threshold on.

    Args:
        thresholds_T: ascending.
        counts_T4: true positives, false positives, false negatives, true negatives.
        replicates_RT4: the same in R bootstrap replicates over patients.
    """

    thresholds_T: Array
    counts_T4: Array
    replicates_RT4: Array

    def rate(self, of: Rates) -> tuple[Array, Array]:
        """Compute a rate of the counts (such as `sensitivity`), [T], and its 95 % intervals [T, 2]; NaN: undefined.

        Percentile intervals over the replicates in which the rate is defined, at each threshold on its own.
        """
        values_T = of(*np.moveaxis(self.counts_T4, -1, 0))
        if not len(self.replicates_RT4):
            return values_T, np.full((len(values_T), 2), np.nan)
        return values_T, np.where(
            np.isnan(values_T)[:, None], np.nan, span(of(*np.moveaxis(self.replicates_RT4, -1, 0)))
        )


def even_ppv(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    """Compute the PPV if half of the cases were positive: v = Se / (Se + 1 - Sp).

    Bayes' theorem gives the PPV at prevalence p from it, v p / (v p + (1 - v)(1 - p)). That rises with v, so it turns
    an interval of v into one of the PPV at any prevalence.
    """
    return predictive(sensitivity(tp, fp, fn, tn), specificity(tp, fp, fn, tn), 0.5)[0]


def even_npv(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    """Compute the NPV if half of the cases were positive: w = Sp / (Sp + 1 - Se); see `even_ppv`."""
    return predictive(sensitivity(tp, fp, fn, tn), specificity(tp, fp, fn, tn), 0.5)[1]


def operating_points(
    scores_N: Array,
    target_N: Array,
    patients: Sequence[Any] | None,
    thresholds: Array | None = None,
    *,
    replicates: int = 400,
    seed: int = 0,
) -> OperatingPoints:
    """Count the decisions of one class against the rest at some thresholds.

    Args:
        scores_N: probabilities of the class.
        target_N: 1 or 0, nothing unknown.
        patients: of each case; None makes each case its own.
        thresholds: by default `threshold_grid`'s.
        replicates: of the bootstrap; none for fewer than two patients.
    """
    scores_N, positive_N = np.asarray(scores_N, float), np.asarray(target_N) > 0.5
    thresholds_T = np.sort(
        threshold_grid(scores_N, positive_N) if thresholds is None else np.asarray(thresholds, float)
    )
    count = _Counter(scores_N, positive_N, thresholds_T)
    whole_T4 = count(np.ones((1, len(scores_N))))[0]
    several = len(scores_N) and len(set(patients if patients is not None else range(len(scores_N)))) > 1
    drawn = patient_weights(patients, len(scores_N), replicates if several else 0, seed)
    parts = [count(weights_RN).astype(np.float32) for weights_RN in drawn]
    return OperatingPoints(thresholds_T, whole_T4, np.concatenate([*parts, np.empty((0, *whole_T4.shape), np.float32)]))


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


class _Counter:
    """Counts at thresholds for any case weights, from one sort."""

    def __init__(self, scores_N: Array, positive_N: Array, thresholds_T: Array) -> None:
        self.sides = []
        for side in (positive_N, ~positive_N):
            cases = np.flatnonzero(side)
            order = cases[np.argsort(-scores_N[cases], kind="stable")]
            above_T = np.searchsorted(-scores_N[order], -thresholds_T, side="right")  # how many score >= t
            self.sides.append((order, above_T))

    def __call__(self, weights_RN: Array) -> Array:
        positive_T, all_of = [], []
        for order, above_T in self.sides:
            total = np.zeros((len(weights_RN), len(order) + 1))
            np.cumsum(weights_RN[:, order], axis=1, out=total[:, 1:])
            positive_T.append(total[:, above_T])
            all_of.append(total[:, -1:])
        return np.stack([positive_T[0], positive_T[1], all_of[0] - positive_T[0], all_of[1] - positive_T[1]], axis=-1)


def span(values_RT: Array) -> Array:
    """Compute 95 % percentile intervals [T, 2] of replicates [R, T]; NaN where none is defined."""
    if np.isfinite(values_RT).all():
        return np.percentile(values_RT, [2.5, 97.5], axis=0).T
    out = np.full((values_RT.shape[1], 2), np.nan)
    some_T = np.isfinite(values_RT).any(axis=0)
    if some_T.any():
        out[some_T] = np.nanpercentile(values_RT[:, some_T], [2.5, 97.5], axis=0).T
    return out
