"""Two models on the same cases: how much better is one, and how sure is that?

Two intervals that overlap say little of the difference, since both models find the same cases hard. So the difference
itself is bootstrapped: each replicate draws patients once and judges both models on them (the paired cluster
bootstrap; Efron & Tibshirani 1993, chapters 8 and 13; Davison & Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.metric.bootstrap import Array, percentile_interval, replicate
from medtrain.metric.classification import Key, Results, statistics_of

Judged = tuple[npt.ArrayLike, npt.ArrayLike]  # probabilities (N, C), predictions


def paired_differences(
    kind: str,
    targets: npt.ArrayLike,
    one: Judged,
    other: Judged,
    classes: Sequence[str],
    patients: Sequence[Any] | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
) -> Results:
    """`other` minus `one` in every metric, with 95 % intervals by bootstrap over patients.

    Replicates in which either model has no value are dropped. As in `evaluate`, those of ``ece`` are shifted so that
    their median is the difference.

    Args:
        kind, targets, classes, patients, bootstrap, seed: as `evaluate` takes them.
        one, other: the probabilities and predictions of two models for the same N cases, coded as in `evaluate`.

    Returns:
        ``{"metrics": {NAME: {"value", "ci95", "p"}}, "per_class": {CLASS: {...}}}``; None where undefined, and
        ``ci95`` and ``p`` None without replicates.
    """
    sheets = [statistics_of(kind, probs, targets, predicted, classes) for probs, predicted in (one, other)]
    cases = sheets[0].cases

    def statistics(weights_RN: Array) -> dict[Key, Array]:
        first, second = (sheet.statistics(weights_RN) for sheet in sheets)
        return {key: second[key] - first[key] for key in first}

    patients = None if patients is None else [patients[i] for i in cases]
    values = {key: float(v[0]) for key, v in statistics(np.ones((1, len(cases)))).items()}
    replicates = replicate(statistics, patients, len(cases), bootstrap, seed)
    results: Results = {"metrics": {}, "per_class": {name: {} for name in classes}}
    for (name, metric), value in values.items():
        owner = results["metrics"] if name is None else results["per_class"][name]
        owner[metric] = _entry(metric, value, replicates.get((name, metric)))
    return results


def _entry(metric: str, value: float, values_R: Array | None) -> dict[str, Any]:
    if np.isnan(value):
        return {"value": None, "ci95": None, "p": None}
    if values_R is None:
        return {"value": value, "ci95": None, "p": None}
    if metric == "ece":
        values_R = values_R - np.nanmedian(values_R) + value
    span = percentile_interval(values_R)
    return {"value": value, "ci95": None if span is None else list(span), "p": bootstrap_p(values_R)}


def bootstrap_p(values_R: Array) -> float | None:
    """Two-sided p of 'no difference': twice the share of replicates on the lesser side of 0, 0 counted on both.

    It is one minus the level at which the percentile interval would end at 0 (a test by an inverted interval; Davison
    & Hinkley 1997, chapter 5). One is added above and below, as in a Monte Carlo test (ibid., section 4.2), so R
    replicates give no p under 2 / (R + 1). None where no replicate has a value.
    """
    defined = values_R[np.isfinite(values_R)]
    if not len(defined):
        return None
    lesser = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (lesser + 1) / (len(defined) + 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted for being several: Holm's step-down method (Scand. J. Statist. 1979).

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
