"""Two models on the same cases: the difference of their metrics, and its interval and p value.

Two intervals that overlap say little of the difference, since both models find the same cases hard. So the difference
itself is bootstrapped: each replicate draws patients once and judges both models on them (the paired cluster
bootstrap; Efron & Tibshirani 1993, chapters 8 and 13; Davison & Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtr

from medtrain.metric.bootstrap import Array, percentile_interval
from medtrain.metric.classification import Cases, Measured, Results
from medtrain.metric.sheet import Sheet


def paired_differences(one: Cases, other: Cases, sheet: type[Sheet], bootstrap: int = 2000, seed: int = 0) -> Results:
    """Compute `other` minus `one` in every metric, with 95 % intervals by bootstrap over patients.

    Replicates in which either model has no value are dropped. As in `evaluate`, those of ``ece`` are shifted so that
    their median is the difference.

    Args:
        one, other: two models' predictions of the same cases.
        sheet, bootstrap, seed: as `evaluate` takes them.

    Returns:
        ``{"metrics": {NAME: {"value", "ci95", "p"}}, "per_class": {CLASS: {...}}}``; None where undefined, and
        ``ci95`` and ``p`` None without replicates.
    """
    first, second = (Measured(cases, sheet, bootstrap, seed, binned=True) for cases in (one, other))
    results: Results = {"metrics": {}, "per_class": {name: {} for name in one.classes}}
    for key, value in second.values.items():
        name, metric = key
        owner = results["metrics"] if name is None else results["per_class"][name]
        values_R = second.replicates[key] - first.replicates[key] if second.replicates else None
        owner[metric] = _entry(metric, float(value - first.values[key]), values_R, first.n_patients)
    return results


def _entry(metric: str, value: float, values_R: Array | None, patients: int) -> dict[str, Any]:
    if np.isnan(value):
        return {"value": None, "ci95": None, "p": None}
    if values_R is None:
        return {"value": value, "ci95": None, "p": None}
    if metric == "ece":
        values_R = values_R - np.nanmedian(values_R) + value
    span = percentile_interval(values_R, patients=patients)
    return {"value": value, "ci95": None if span is None else list(span), "p": bootstrap_p(values_R, patients)}


def bootstrap_p(values_R: Array, patients: int) -> float | None:
    """Compute the two-sided p of 'no difference': from the share of replicates on the lesser side of 0, 0 on both.

    It is one minus the level at which `percentile_interval` for so many patients would end at 0 (a test by an inverted
    interval; Davison & Hinkley 1997, chapter 5). One is added to the share above and below, as in a Monte Carlo test
    (ibid., section 4.2), so p is never 0. None where no replicate has a value.
    """
    defined = values_R[np.isfinite(values_R)]
    if not len(defined):
        return None
    lesser = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    out = float(ndtri((lesser + 1) / (len(defined) + 1)))  # standard normal; as Student's t it is less
    return min(1.0, 2 * float(stdtr(patients - 1, out * np.sqrt((patients - 1) / patients))))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for being several: Holm's step-down method (Scand. J. Statist. 1979).

    Where none of the differences is real, the chance that any adjusted p is below 0.05 is at most 0.05, however the
    comparisons depend on each other. None (undefined) stays None and doesn't count.
    """
    known = sorted((p, n) for n, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for place, (p, n) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        adjusted[n] = highest
    return adjusted
