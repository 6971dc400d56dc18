"""Every metric of one class against the rest, for many case weightings at once.

Binary problems are this; multiclass and multilabel problems are several of these and their averages. Whatever a metric
needs of the cases are sums of their weights, so a sparse matrix times the weights gives it for all weightings.

A metric is a function below with `metric` on it; its parameters say what it takes:

- ``tp, fp, fn, tn``: weights of the decision's four kinds of cases;
- ``areas``: under the ROC curve and the precision-recall curve; ``error``: the mean squared error of the probability;
- ``bins``: the calibration error over 15 equal-mass bins; ``line``: slope and intercept of `Recalibration`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array, csr_array

from medtrain.metric.bootstrap import Array
from medtrain.metric.calibration import Reliability
from medtrain.metric.ranking import Ranking, ratio
from medtrain.metric.recalibration import Recalibration

Entries = tuple[int, Array, Array, Array]  # number of rows; row, case and value of each entry


def sums_matrix(parts: Sequence[Entries], n_cases: int) -> tuple[csr_array, list[slice]]:
    """Join several parts into matrix_KN, which turns case weights into sums, and find the rows of each."""
    starts = np.cumsum([0, *(part[0] for part in parts)])
    rows, cases, values = (np.concatenate([part[i] for part in parts]) for i in (1, 2, 3))
    rows = rows + np.repeat(starts[:-1], [len(part[1]) for part in parts])
    matrix = coo_array((values, (rows, cases)), shape=(int(starts[-1]), n_cases)).tocsr()
    return matrix, [slice(int(a), int(b)) for a, b in pairwise(starts)]


class OneClass:
    """One class against the rest over N cases.

    Args:
        probs_N: probability of the class.
        target_N: 1 or 0; NaN where unknown (such cases count nowhere).
        predicted_N: 1 or 0, the decision.

    Attributes:
        cases: the M cases with a label.
        cell: of each, 0 true positive, 1 false positive, 2 false negative, 3 true negative.
        matrix: matrix_KN, csr; times weights_NR it gives the sums_KR that the methods take.
    """

    def __init__(self, probs_N: Array, target_N: Array, predicted_N: Array) -> None:
        known = np.isfinite(target_N)
        probs, target = probs_N[known], target_N[known]
        predicted = predicted_N[known] > 0.5
        self.cases = np.flatnonzero(known)
        self.probs, self.target = probs, target
        positive = target > 0.5
        self.two_sided = bool(positive.any() and (~positive).any())
        self.ranking = Ranking(probs, positive)
        self.reliability = Reliability(probs, target)
        self.recalibration = Recalibration(probs, target)
        ones = np.ones(len(probs))
        self.cell = np.where(predicted, np.where(positive, 0, 1), np.where(positive, 2, 3))
        bins, fit, every = self.reliability, self.recalibration, self.cases
        parts = [
            (4, self.cell, every, ones),
            (1, np.zeros(len(probs), dtype=np.int64), every, (probs - target) ** 2),
            (fit.n_rows, fit.rows, every[fit.cases], fit.values),
            (self.ranking.n_rows, self.ranking.rows_M, every, ones),
            (bins.n_rows, bins.rows_N, np.tile(every, 2), bins.values_N),  # last, so that it can be left out
        ]
        self.matrix, self._rows = sums_matrix(parts, len(target_N))

    def unbinned(self) -> csr_array:
        """Give the matrix without the bins, whose sums give all metrics but the ECE."""
        return self.matrix[: self._rows[-1].start]

    def counts(self, sums_KR: Array) -> Array:
        """Count cases by weight, counts_4R: true positives, false positives, false negatives, true negatives."""
        return np.asarray(sums_KR[self._rows[0]], dtype=np.float64)

    def bins(self, sums_KR: Array) -> tuple[Array, Array, Array]:
        """Compute n_BR, predicted_BR and observed_BR of the reliability diagram."""
        return self.reliability.shares(sums_KR[self._rows[-1]].astype(np.float64))

    def statistics(self, sums_KR: Array, exact: bool = False) -> dict[str, Array]:
        """Compute {metric: values_R} of all `METRICS`, NaN where undefined; the ECE is NaN too without its bins.

        Args:
            exact: the weights are all one.
        """
        _, error, fit, ranks, bins = (sums_KR[rows] for rows in self._rows)
        counts_4R = self.counts(sums_KR)
        given = dict(zip(COUNTS, counts_4R, strict=True)) | {
            "areas": self.ranking.areas(ranks),
            "error": ratio(error[0].astype(np.float64), counts_4R.sum(axis=0)),
            "bins": self.reliability.error(bins.astype(np.float64)) if len(bins) else np.full(bins.shape[1], np.nan),
            "line": self.recalibration.exact if exact else self.recalibration.fit(fit),
        }
        return {name: function(*(given[key] for key in TAKES[name])) for name, function in METRICS.items()}


Metric = Callable[..., Array]
COUNTS = ("tp", "fp", "fn", "tn")
METRICS: dict[str, Metric] = {}  # in the order of reports
TAKES: dict[str, tuple[str, ...]] = {}


def metric(function: Metric) -> Metric:
    """Make a function of the sums of `OneClass.statistics` a metric of all evaluations, under its own name."""
    METRICS[function.__name__], TAKES[function.__name__] = function, tuple(inspect.signature(function).parameters)
    return function


def count_metrics(*counts: Array) -> dict[str, Array]:
    """Compute the metrics of a decision from its (weighted) counts tp, fp, fn, tn; 0/0 is NaN, not 0.

    Names and definitions are scikit-learn's, with sensitivity = recall and ppv = precision of the positive class,
    specificity and npv those of the negative class; mcc is Matthews' correlation, kappa is Cohen's.
    """
    return {name: function(*counts) for name, function in METRICS.items() if TAKES[name] == COUNTS}


@metric
def auroc(areas: tuple[Array, Array]) -> Array:
    return areas[0]


@metric
def auprc(areas: tuple[Array, Array]) -> Array:
    return areas[1]


@metric
def accuracy(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    return ratio(tp + tn, tp + fp + fn + tn)


@metric
def balanced_accuracy(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    return (sensitivity(tp, fp, fn, tn) + specificity(tp, fp, fn, tn)) / 2


@metric
def sensitivity(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    return ratio(tp, tp + fn)


@metric
def specificity(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    return ratio(tn, tn + fp)


@metric
def ppv(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    return ratio(tp, tp + fp)


@metric
def npv(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    return ratio(tn, tn + fn)


@metric
def f1(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    return ratio(2 * tp, 2 * tp + fp + fn)


@metric
def mcc(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    return ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


@metric
def brier(error: Array) -> Array:
    return error


@metric
def ece(bins: Array) -> Array:
    return bins


@metric
def calibration_slope(line: tuple[Array, Array], areas: tuple[Array, Array]) -> Array:
    """Give the slope; infinite where the classes are separated, which has no fit."""
    separated = np.select([np.isnan(areas[0]), areas[0] > 0.5, areas[0] < 0.5], [np.nan, np.inf, -np.inf], np.nan)
    return np.where((areas[0] > 0) & (areas[0] < 1) & np.isfinite(line[0]), line[0], separated)


@metric
def calibration_intercept(line: tuple[Array, Array]) -> Array:
    return line[1]


@metric
def kappa(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    return ratio(2 * (tp * tn - fp * fn), (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn))


NAMES = tuple(METRICS)
