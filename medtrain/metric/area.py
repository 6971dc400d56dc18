"""Limits of an AUROC over patients: a score interval, whose spread is that of patients where there are many.

The spread of an area shrinks as it nears 1, so that a symmetric interval is wrong there: the limits are the areas from
which the one seen is 1.96 of *their* standard errors away (Newcombe, Stat. Med. 2006, method 5). A separated
sample gets a lower limit that way. Spread follows Newcombe's formula, times how much more or less of it the patients
show (Obuchowski, Biometrics 1997; without patients that is DeLong et al., Biometrics 1988), averaged with the formula
itself where patients of a class are few.
"""

from __future__ import annotations

import numpy as np

from medtrain.metric.bootstrap import Array
from medtrain.metric.interval import NOTHING, Limits, Z

PRIOR = 3.0  # patients that the formula counts as
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


def auroc_limits(area: float, variance: float, k: int, m: int) -> Limits:
    """Compute 95 % limits of an AUROC.

    Args:
        variance: over patients, NaN where unknown.
        k, m: patients with a positive case, and with a negative one.
    """
    if not np.isfinite(variance):
        return NOTHING
    weight, effect = min(k, m), 1.0
    if 0 < area < 1:
        effect = (weight * variance / float(newcombe(np.array(area), k, m)) + PRIOR) / (weight + PRIOR)

    def beyond(x: float) -> bool:
        return (area - x) ** 2 > Z**2 * effect * float(newcombe(np.array(x), k, m))

    return _edge(beyond, area, 0.0), _edge(beyond, area, 1.0)


def _edge(beyond, area: float, end: float) -> float:  # type: ignore[no-untyped-def]
    """Find the last area towards an end that is not beyond what the spread allows."""
    if area == end:
        return end
    inside, outside = area + (end - area) * 1e-9, end
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if beyond(middle) else (middle, outside)
    return inside
