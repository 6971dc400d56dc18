"""Every metric of one class against the rest, for many case weightings at once.

Binary problems are this; multiclass and multilabel problems are several of these and their averages. Counts, squared
errors and calibration residuals are linear in the weights, so they all come out of one matrix product.
"""

from __future__ import annotations

import numpy as np

from medtrain.metric.bootstrap import Array
from medtrain.metric.calibration import residuals
from medtrain.metric.ranking import Ranking, ratio

NAMES = (
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "f1",
    "mcc",
    "brier",
    "ece",
    "kappa",
)


class OneClass:
    """One class against the rest over N cases.

    Args:
        probs_N: probability of the class.
        target_N: 1 or 0; NaN where unknown (such cases count nowhere).
        predicted_N: 1 or 0, the decision.
    """

    def __init__(self, probs_N: Array, target_N: Array, predicted_N: Array) -> None:
        known = np.isfinite(target_N)
        probs, target = probs_N[known], target_N[known]
        predicted = predicted_N[known] > 0.5
        self.cases = np.flatnonzero(known)
        self.probs, self.target = probs, target
        positive = target > 0.5
        self.two_sided = bool(positive.any() and (~positive).any())
        cells = [positive & predicted, ~positive & predicted, positive & ~predicted, ~positive & ~predicted]
        columns = [*cells, (probs - target) ** 2, *residuals(probs, target).T]
        self._linear_NK = np.zeros((len(target_N), len(columns)))
        self._linear_NK[known] = np.stack(columns, axis=1)
        self._ranking = Ranking(probs, positive, self.cases)

    def counts(self, weights_RN: Array) -> Array:
        """counts_R4: weights of true positives, false positives, false negatives, true negatives."""
        return np.asarray(weights_RN @ self._linear_NK[:, :4])

    def statistics(self, weights_RN: Array) -> dict[str, Array]:
        """{metric: values_R} for the names in `NAMES`, NaN where undefined.

        brier is the mean squared error of the class's probability, ece the calibration error over 15 equal-mass
        bins of that probability.
        """
        sums_RK = weights_RN @ self._linear_NK
        n = sums_RK[:, :4].sum(axis=1)
        auroc, auprc = self._ranking.auroc_and_ap(weights_RN)
        values = {"auroc": auroc, "auprc": auprc} | count_metrics(*sums_RK[:, :4].T)
        values["brier"] = ratio(sums_RK[:, 4], n)
        values["ece"] = ratio(np.abs(sums_RK[:, 5:]).sum(axis=1), n)
        return {name: values[name] for name in NAMES}


def count_metrics(tp: Array, fp: Array, fn: Array, tn: Array) -> dict[str, Array]:
    """Metrics of a decision from its (weighted) counts, element by element; 0/0 is NaN, not 0.

    Names and definitions are scikit-learn's, with sensitivity = recall and ppv = precision of the positive class,
    specificity and npv those of the negative class; mcc is Matthews' correlation, kappa is Cohen's.
    """
    n = tp + fp + fn + tn
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    return {
        "accuracy": ratio(tp + tn, n),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "mcc": ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
        "kappa": ratio(2 * (tp * tn - fp * fn), (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)),
    }
