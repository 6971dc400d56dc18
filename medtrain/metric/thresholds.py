"""Thresholds of probabilities, chosen on validation data as `eval.threshold` has it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medtrain.metric.bootstrap import Array, patient_index
from medtrain.metric.policy import Parsed
from medtrain.metric.share import share_forms

log = logging.getLogger(__name__)

NEVER = float(np.nextafter(1, np.inf))
"""A threshold that no probability reaches."""


def fit_threshold(
    probs_N: Array, positive_N: Array, parsed: Parsed, name: str = "", patients: Sequence[Any] | None = None
) -> float:
    """Choose the threshold t (positive: p >= t) that a policy asks for.

    youden: the observed probability with the largest sensitivity + specificity - 1 (Youden 1950), the highest of
    equals. sensitivity@X: the highest t with that sensitivity. specificity@X: the lowest observed probability with
    that specificity (above all of them if need be). With a + the lower end of its 95 % interval over patients reaches
    X, so that with 19 chances in 20 or better the policy holds in other cases of the same kind.

    Args:
        name: of the class, for warnings.
        patients: of each case, for policies with a +; None: each case is its own.
    """
    if parsed.name == "fixed":
        return parsed.value
    positives, negatives = np.sort(probs_N[positive_N])[::-1], np.sort(probs_N[~positive_N])
    if not len(positives) or not len(negatives):
        lacking = "positive" if not len(positives) else "negative"
        log.warning("%s: no %s case in the validation data to fit a threshold on; 0.5 is used", name, lacking)
        return 0.5
    observed = np.unique(probs_N)
    above_all = float(np.nextafter(observed[-1], np.inf))
    if parsed.sure:
        of_positives = parsed.name == "sensitivity"
        own_N = positive_N if of_positives else ~positive_N
        patient_N, n = patient_index(None if patients is None else np.asarray(patients)[own_N], int(own_N.sum()))
        own = probs_N[own_N]
        limits = np.unique(positives)[::-1] if of_positives else np.append(observed, above_all)

        def right(limit: float) -> Array:
            return np.bincount(patient_N[(own >= limit) == of_positives], minlength=n)

        return surely(limits, right, np.bincount(patient_N, minlength=n), parsed, name)
    if parsed.name == "sensitivity":
        return float(positives[_needed(parsed.value, len(positives)) - 1])
    if parsed.name == "specificity":
        above = observed[observed > negatives[_needed(parsed.value, len(negatives)) - 1]]
        return float(above[0]) if len(above) else above_all
    accepted = np.searchsorted(-positives, -observed, side="right") / len(positives)
    rejected = np.searchsorted(negatives, observed, side="left") / len(negatives)
    gain = accepted + rejected
    return float(observed[np.flatnonzero(gain >= gain.max() - 1e-12)[-1]])


def surely(limits_T: Array, right: Callable[[float], Array], cases_P: Array, parsed: Parsed, name: str = "") -> float:
    """Find the first threshold at which the lower end of a share's interval reaches what a policy asks for.

    Where none does, the last one, with a warning: so few patients can't show it.

    Args:
        limits_T: thresholds, at each of which at least as many cases are right as at the one before.
        right: counts each patient's cases that are decided rightly at a threshold.
        cases_P: each patient's cases.
    """

    def lower(limit: float) -> float:
        low = share_forms(right(limit)[None], cases_P[None])[1][0].limits[0]
        return low if np.isfinite(low) else 0.0

    low, high = 0, len(limits_T) - 1
    if (best := lower(limits_T[high])) < parsed.value:
        log.warning(
            "%s: even with %s 1 in the validation data its lower limit would be %.3f, not %g: too few patients (%d). "
            "The threshold is the one with which all of these cases are right",
            name, parsed.name, best, parsed.value, int((cases_P > 0).sum()),
        )  # fmt: skip
        return float(limits_T[high])
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if lower(limits_T[middle]) >= parsed.value else (middle + 1, high)
    return float(limits_T[low])


def _needed(share: float, n: int) -> int:
    """Count how many of n make at least the share, unmoved by rounding (0.7 x 10 is 7, not 7.000000000000001)."""
    return max(1, math.ceil(share * n - 1e-9))
