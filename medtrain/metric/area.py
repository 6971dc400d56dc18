"""Limits of an AUROC over patients: a score interval, whose spread is that of patients where there are many.

The spread of an area shrinks as it nears 1, so that a symmetric interval is wrong there: the limits are the areas from
which the one seen is 1.96 of *their* standard errors away (Newcombe, Stat. Med. 2006, method 5). A separated
sample gets a lower limit that way. Spread follows Newcombe's formula, times how much more or less of it the cases show
(DeLong et al., Biometrics 1988), averaged with the formula itself where a class has a handful of cases, and times the
design effect of patients (Obuchowski, Biometrics 1997), which is below 1 where patients have cases of both classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medtrain.metric.bootstrap import Array
from medtrain.metric.interval import NOTHING, Limits, Z

PRIOR = 3.0  # independent cases of the smaller class, squared, that the formula counts as
EVENTS = 0.05  # misranked cases, beyond the first, that the greatest design effect counts as
STEPS = 60


def placements(scores_N: Array, positive_N: Array) -> Array:
    """Compute of each positive case the share of negatives below it, of each negative that of positives above it.

    Ties count half. The mean of either class is the AUROC.
    """
    out = np.empty(len(scores_N))
    positive, negative = np.sort(scores_N[positive_N]), np.sort(scores_N[~positive_N])
    own, other = scores_N[positive_N], scores_N[~positive_N]
    out[positive_N] = sum(np.searchsorted(negative, own, side) for side in ("left", "right")) / (2 * len(negative))
    out[~positive_N] = 1 - sum(np.searchsorted(positive, other, side) for side in ("left", "right")) / (
        2 * len(positive)
    )
    return out


def obuchowski(placed_N: Array, positive_N: Array, patient_N: Array, n_patients: int) -> tuple[float, int, int]:
    """Compute the variance of an AUROC over patients; and how many patients have a positive, and a negative case.

    NaN with fewer than two of either. A patient may have cases of both classes.
    """
    area = float(placed_N[positive_N].mean())
    sums = []
    for own in (positive_N, ~positive_N):
        of, n = patient_N[own], int(own.sum())
        patients = int((np.bincount(of, minlength=n_patients) > 0).sum())
        share_P = np.bincount(of, placed_N[own] - area, minlength=n_patients) / n
        sums.append((share_P, patients))
    (positive_P, k), (negative_P, m) = sums
    if k < 2 or m < 2:
        return np.nan, k, m
    both = (positive_P @ negative_P) * n_patients / max(1, n_patients - 1)
    variance = k / (k - 1) * (positive_P @ positive_P) + m / (m - 1) * (negative_P @ negative_P) + 2 * both
    return max(0.0, float(variance)), k, m


def newcombe(area: Array, k: float, m: float) -> Array:
    """Compute the variance of an AUROC of k positives and m negatives by Newcombe's formula."""
    other = (k + m) / 2 - 1
    return area * (1 - area) / (k * m) * (1 + other * ((1 - area) / (2 - area) + area / (1 + area)))


def auroc_limits(area: float, variance: float, k: float, m: float, effect: float = 1.0) -> Limits:
    """Compute 95 % limits of an AUROC.

    Args:
        variance: of it, were the cases independent; NaN where unknown.
        k, m: positive and negative cases.
        effect: the design effect: how many of them are worth one.
    """
    if not np.isfinite(variance):
        return NOTHING
    spread = 1.0
    if 0 < area < 1:
        weight, prior = (min(k, m) / effect) ** 2, PRIOR**2
        spread = (weight * variance / float(newcombe(np.array(area), k, m)) + prior) / (weight + prior)
    worth = max(1.0, k / effect), max(1.0, m / effect)

    def beyond(x: float) -> bool:
        return (area - x) ** 2 > Z**2 * spread * float(newcombe(np.array(x), *worth))

    return _edge(beyond, area, 0.0), _edge(beyond, area, 1.0)


def clustered_limits(area: float, placed_N: Array, positive_N: Array, patient_N: Array, n_patients: int) -> Limits:
    """Compute 95 % limits of an AUROC over patients.

    The design effect is Obuchowski's variance over DeLong's; where next to no case is misranked the cases of a patient
    count as one.

    Args:
        placed_N, positive_N, patient_N, n_patients: as `obuchowski` takes them.
    """
    n, positives = len(positive_N), int(positive_N.sum())
    over_patients = obuchowski(placed_N, positive_N, patient_N, n_patients)[0]
    if not np.isfinite(over_patients):
        return NOTHING
    over_cases = obuchowski(placed_N, positive_N, np.arange(n), n)[0]
    size = float((np.bincount(patient_N) ** 2).sum() / n)
    events = max(0.0, 2 * min(positives, n - positives) * min(area, 1 - area) - 1)
    shown = over_patients / over_cases if over_cases > 0 else size
    effect = (events * shown + EVENTS * size) / (events + EVENTS)
    return auroc_limits(area, over_cases, positives, n - positives, effect)


def _edge(beyond: Callable[[float], bool], area: float, end: float) -> float:
    """Find the last area towards an end that is not beyond what the spread allows."""
    if area == end:
        return end
    inside, outside = area + (end - area) * 1e-9, end
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if beyond(middle) else (middle, outside)
    return inside
