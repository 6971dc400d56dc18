"""Limits of shares and rates over patients: sensitivity, PPV, F1, an observed share, false positives an image.

The cases of one patient are alike, so a share of n cases is worth fewer: as many as independent cases of the same
spread (the design effect; Korn & Graubard, Survey Methodology 1998). Few events say little of that, and one says
nothing: the design effect that they show is averaged with the one that is `presumed`, of cases that are alike by 0.3
(the correlation within patients). So one missed lesion of 320 and none missed have intervals of about the same width.

0.3 is a choice between two wants (scripts/coverage.py). Were the cases of a patient presumed to be one, intervals would
hold the truth however alike they are, and be a third wider than Korn and Graubard's where few are missed; these count
cases as independent where none is missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.special import betainc, betaincinv, gammainc, gammaincc, gammaincinv, stdtrit

from medtrain.metric.bootstrap import Array
from medtrain.metric.interval import NOTHING, TAIL, Form

PRIOR = 1.0  # events, beyond the first, that what is presumed counts as
ALIKE = 0.3  # correlation of the cases of a patient that is presumed
STEPS = 28
RATE = (0.0, np.inf)


def share_forms(hits_TP: Array, cases_TP: Array, variance_T: Array | None = None) -> tuple[Array, list[Form]]:
    """Compute shares of cases and their forms, patient by patient.

    Args:
        hits_TP: how many of each patient's cases count, for T shares.
        cases_TP: of how many; patients without a case count as patients who may be drawn.
        variance_T: of the shares, where it is more than that of hits (say, the threshold varies too).

    Returns:
        values_T, NaN without a case, and T forms.
    """
    hits_TP, cases_TP = np.broadcast_arrays(hits_TP, cases_TP)
    everyone = cases_TP.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        n_T, patients_T = cases_TP.sum(axis=-1), (cases_TP > 0).sum(axis=-1)
        share_T = np.where(n_T > 0, hits_TP.sum(axis=-1) / n_T, np.nan)
        independent_T = n_T * share_T * (1 - share_T) * n_T / (n_T - 1)
        if variance_T is None:
            squares_T = ((hits_TP - share_T[..., None] * cases_TP) ** 2).sum(axis=-1)
            variance_T = squares_T * patients_T / (patients_T - 1) / n_T**2
        effect_T = variance_T * n_T**2 / independent_T
        worth_T = effective(n_T, share_T, effect_T, patients_T, (cases_TP**2).sum(axis=-1) / n_T)
    drawn_T = 1 - (1 - patients_T / max(1, everyone)) ** everyone
    forms = [
        Form((float(low), float(high)), (int(patients),), defined=float(drawn))
        for (low, high), patients, drawn in zip(mid_p(share_T, worth_T), patients_T, drawn_T, strict=True)
    ]
    return share_T, forms


def presumed(size_T: Array) -> Array:
    """Compute the design effect that is presumed of patients with so many cases (Kish, Survey Sampling, 1965)."""
    return 1 + (size_T - 1) * ALIKE


def of_jaccard(form: Form) -> Form:
    """Turn the form of Jaccard's index J, a share of cases, into that of F1 = 2 J / (1 + J)."""
    low, high = (2 * limit / (1 + limit) for limit in form.limits)
    return replace(form, limits=(low, high))


def effective(n_T: Array, share_T: Array, effect_T: Array, patients_T: Array, size_T: Array) -> Array:
    """Compute how many independent cases n cases are worth.

    Args:
        n_T: cases.
        share_T: of them.
        effect_T: the design effect that they show; NaN where they show none.
        patients_T: that they come from; a design effect of few has the spread of Student's t.
        size_T: cases of a case's patient, on average.
    """
    events_T = np.maximum(n_T * np.minimum(share_T, 1 - share_T) - 1, 0)
    students = stdtrit(np.maximum(patients_T - 1, 1), TAIL) / stdtrit(np.maximum(n_T - 1, 1), TAIL)
    shown_T = np.where(np.isfinite(effect_T), effect_T, 0.0) * students**2
    return n_T / np.maximum((events_T * shown_T + PRIOR * presumed(size_T)) / (events_T + PRIOR), 1.0)


def mid_p(share_T: Array, n_T: Array) -> Array:
    """Compute the mid-P limits (T, 2) of a binomial share (Lancaster, JASA 1961; Berry & Armitage, Statistician 1995).

    They lie within Clopper and Pearson's, whose coverage is more than it claims, and n need not be a whole number.
    """
    share_T, n_T = np.asarray(share_T, float), np.asarray(n_T, float)
    low_T, high_T = _lower(share_T * n_T, n_T), 1 - _lower((1 - share_T) * n_T, n_T)
    unknown = ~np.isfinite(share_T * n_T)
    return np.stack([np.where(unknown, np.nan, low_T), np.where(unknown, np.nan, high_T)], axis=-1)


def _lower(x_T: Array, n_T: Array) -> Array:
    """Find p with P(X > x) + P(X = x) / 2 = 0.025; 0 where x is 0."""
    x, rest = np.maximum(x_T, 0), np.maximum(n_T - x_T, 0)
    none, every = x < 1e-9, rest < 1e-9
    x, rest = np.where(none | ~np.isfinite(x), 1.0, x), np.where(every | ~np.isfinite(rest), 0.0, rest)

    def above(p: Array) -> Array:
        return (betainc(x, rest + 1, p) + np.where(every, 0.0, betainc(x + 1, np.maximum(rest, 1e-9), p))) / 2

    ends = betaincinv(x, rest + 1, TAIL), betaincinv(x, rest + 1, 2 * TAIL)
    return np.where(none, 0.0, _bisect(above, *ends))


def _bisect(rising: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Find where a rising function is 0.025."""
    for _ in range(STEPS):
        middle = (low + high) / 2
        less = rising(middle) < TAIL
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    return (low + high) / 2


def rate_form(events_P: Array, images_P: Array) -> Form:
    """Compute the form of a Poisson rate an image, with mid-P limits.

    The design effect is that of `share_forms`.
    """
    n, patients = float(images_P.sum()), int((images_P > 0).sum())
    if not n:
        return Form(NOTHING, (0,), RATE)
    total = float(events_P.sum())
    rate = total / n
    size = float((images_P**2).sum() / n)
    shown = 0.0
    if total and patients > 1:
        squares = float(((events_P - rate * images_P) ** 2).sum()) * patients / (patients - 1)
        shown = squares / total * float(stdtrit(patients - 1, TAIL) / stdtrit(max(n - 1, 1), TAIL)) ** 2
    weight = max(total - 1, 0.0)
    effect = max((weight * shown + PRIOR * float(presumed(np.array(size)))) / (weight + PRIOR), 1.0)
    x, worth = np.array([total / effect]), n / effect
    one = np.maximum(x, 1e-9)

    def at_least(rate_T: Array) -> Array:
        return (gammainc(one, rate_T) + gammainc(one + 1, rate_T)) / 2

    def at_most(rate_T: Array) -> Array:  # rises as the rate falls
        return (gammaincc(x + 1, -rate_T) + np.where(x > 0, gammaincc(one, -rate_T), 0.0)) / 2

    low = _bisect(at_least, gammaincinv(one, TAIL), gammaincinv(one, 2 * TAIL)) if total else np.zeros(1)
    top = float(gammaincinv(x + 1, 1 - TAIL)[0])
    high = -_bisect(at_most, np.array([-top - 1.0]), -x)
    return Form((float(low[0]) / worth, float(high[0]) / worth), (patients,), RATE)


def bounded_limits(
    value: float,
    variance: float,
    worth: float,
    events: float,
    ends: tuple[float, float] = (0.0, 1.0),
) -> tuple[float, float]:
    """Compute limits of a number between two ends, as of a share of so many cases that it has its spread.

    Args:
        value: between the ends.
        variance: of it; NaN where it shows none.
        worth: independent cases whose share would spread like the value at the end of its range.
        events: what the variance rests on; `worth` counts as `PRIOR` of them.
    """
    width = ends[1] - ends[0]
    share = np.array((value - ends[0]) / width)
    n = worth
    if 0 < share < 1 and variance > 0:
        shown = variance / width**2 / (share * (1 - share))
        n = (events + PRIOR) / (events * shown + PRIOR / worth)
    low, high = ends[0] + width * mid_p(share, np.asarray(n, float))
    return float(low), float(high)
