"""Intervals: one rule for what is written beside a value, whatever the metric.

A bootstrap of patients says how a value varies where it can vary. At the end of a range, and with few events, it can
not: a perfect sample has perfect replicates. So the limits of a metric come from an analytic form of its kind (`Form`:
a share, an area, a mean of several, a rate), which takes its spread from patients and knows the end of its range;
`write` decides whether they may stand:

- fewer than two patients behind a value: no interval;
- fewer than nine in ten replicates in which the metric is defined: no interval;
- a value at the end of its range from fewer than five patients on either side: no interval;
- a value that does not vary elsewhere (a model that says the same of everyone): no interval.

The reason is written in its place, so zero width never stands for certainty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit, ndtri, stdtrit

from medtrain.metric.bootstrap import Array

Limits = tuple[float, float]
ENOUGH = 0.9  # share of the replicates that must have a value
AT_THE_END = 5  # patients behind a value at the end of its range
RELIABLE = 10  # positive or negative patients under which an interval is not to be relied on
TAIL = 0.025
STILL = 1e-9
Z = float(ndtri(1 - TAIL))
NOTHING = (np.nan, np.nan)


@dataclass(frozen=True)
class Form:
    """The limits that a metric's form gives, and what they rest on.

    Args:
        limits: low and high; NaN where the form has none.
        behind: patients behind each side of the value: (positive, negative) of an area, one number of a share.
        ends: of the metric's range; a value there can't vary in replicates.
        reason: why there are no limits, where the form knows it.
        defined: the chance that a replicate has a value, where it can be computed; None: replicates are counted.
    """

    limits: Limits
    behind: tuple[int, ...] = ()
    ends: Limits = (0.0, 1.0)
    reason: str = ""
    defined: float | None = None


def write(value: float, form: Form | None, values_R: Array | None = None) -> dict[str, Any]:
    """Write a value with its interval as test_metrics.json has it.

    Args:
        value: NaN: undefined.
        form: limits from the metric's own form; None: no interval was asked for.
        values_R: the metric in each replicate, NaN where undefined, infinite where it has no bound; None: the
            form needs no replicates.

    Returns:
        ``value`` and ``ci95``, None where there is none; then ``reason`` says why. ``defined`` and ``replicates``
        are there where some replicates had no value.
    """
    if not np.isfinite(value):
        return {"value": None, "ci95": None}
    entry: dict[str, Any] = {"value": float(value), "ci95": None}
    if form is None:
        return entry
    if values_R is not None and (defined := count_defined(values_R)) < len(values_R):
        entry |= {"defined": defined, "replicates": len(values_R)}
    reason = missing(value, form, values_R)
    if reason:
        return entry | {"reason": reason}
    low, high = form.limits
    return entry | {"ci95": [float(min(low, value)), float(max(high, value))]}


def missing(value: float, form: Form, values_R: Array | None = None) -> str:
    """Say why a value has no interval, empty where it has one; arguments as `write` takes them."""
    fewest = min(form.behind, default=AT_THE_END)
    drawn = 0 if values_R is None else len(values_R)
    if fewest < 2:
        return f"{fewest} patient{'' if fewest == 1 else 's'} behind it, an interval needs 2"
    counted = count_defined(values_R) if values_R is not None and drawn else 0
    chance = counted / drawn if form.defined is None and drawn else form.defined
    if chance is not None and chance < ENOUGH:
        return f"defined in {counted:,} of {drawn:,} replicates only" if drawn else "too rare to resample"
    if values_R is not None and drawn and value not in form.ends and np.ptp(np.nan_to_num(_known(values_R))) < STILL:
        return "it doesn't vary between patients, so nothing is known of others"
    if form.reason:
        return form.reason
    if value in form.ends and fewest < AT_THE_END:
        return f"{value:g} from {fewest} patients, at the end of its range an interval needs {AT_THE_END}"
    if not form.limits[0] < form.limits[1] or not np.isfinite(form.limits).all():
        return "its spread can't be estimated"
    return ""


def _known(values_R: Array) -> Array:
    return np.asarray(values_R[~np.isnan(values_R)])


def count_defined(values_R: Array) -> int:
    """Count the replicates that have a value; an infinite one is a value."""
    return len(_known(values_R))


def quantile(patients: int) -> float:
    """Compute Student's t for so many patients, less one degree of freedom."""
    return float(stdtrit(max(1, patients - 1), 1 - TAIL))


def spread(values_R: Array, patients: int) -> float:
    """Compute the variance of a value from its replicates, NaN left out; a bootstrap's is too small by 1/P."""
    defined = values_R[np.isfinite(values_R)]
    return float(defined.var() * patients / max(1, patients - 1)) if len(defined) > 1 else np.nan


def real(value: float, variance: float, patients: int) -> Limits:
    """Compute limits of a number without bounds: Student's t."""
    half = quantile(patients) * float(np.sqrt(variance))
    return value - half, value + half


def turned(
    value: float, values_R: Array, patients: int, there: Callable[[Any], Any], back: Callable[[Any], Any]
) -> Limits:
    """Compute limits by Student's t on a scale on which a number has no end; none at an end.

    Args:
        there, back: to that scale, and from it.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        place, drawn_R = float(there(value)), there(values_R)
    if not np.isfinite(place):
        return NOTHING
    low, high = real(place, spread(drawn_R, patients), patients)
    return float(back(low)), float(back(high))


def within(value: float, variance: float, patients: int) -> Limits:
    """Compute limits of a mean between 0 and 1, on the logit scale with Student's t."""
    if not 0 < value < 1:
        return NOTHING
    low, high = real(float(logit(value)), variance / (value * (1 - value)) ** 2, patients)
    return float(expit(low)), float(expit(high))


def averaged(values_C: Array, limits_C2: Array, correlation_CC: Array | None = None) -> Limits:
    """Compute limits of a mean from those of its parts.

    The parts' distances to their limits are added as standard errors are (the method of variance estimates recovery,
    MOVER: Zou, Am. J. Epidemiol. 2007; Zou & Donner, Stat. Med. 2008), so that the mean's interval is as lopsided.

    Args:
        values_C: C parts.
        limits_C2: their limits.
        correlation_CC: of the parts; by default none.
    """
    c = len(values_C)
    r_CC = np.eye(c) if correlation_CC is None else correlation_CC
    down, up = values_C - limits_C2[:, 0], limits_C2[:, 1] - values_C
    mean = float(values_C.mean())
    low, high = (float(np.sqrt(max(0.0, d @ r_CC @ d))) / c for d in (down, up))
    return mean - low, mean + high


def correlation(values_CR: Sequence[Array], of_others: bool = False) -> Array:
    """Correlate the replicates of several metrics, NaN left out.

    Of two that don't vary nothing is known: they count as one (1), so that the interval of a mean of several perfect
    numbers is no narrower than theirs. One that doesn't vary is not related to one that does (0).

    Args:
        of_others: the metrics are about different cases: those that don't vary are not related either.
    """
    stacked = np.stack(values_CR).astype(np.float64)
    usable = stacked[:, np.isfinite(stacked).all(axis=0)]
    still_C = np.ptp(usable, axis=1) < STILL if usable.shape[1] > 1 else np.ones(len(stacked), bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        related = np.asarray(np.corrcoef(usable)).reshape(len(stacked), len(stacked)) if not still_C.all() else np.nan
    either, both = still_C[:, None] | still_C, still_C[:, None] & still_C
    related = np.where(either, np.where(both, 0.0 if of_others else 1.0, 0.0), related)
    np.fill_diagonal(related, 1.0)
    return related


ANGLES = np.linspace(0, np.pi / 2, 91)


def rising(function: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """Compute limits of a function that rises in both of two independent numbers.

    They are its least and greatest values where the distances of both from their estimates, in units of those to
    their limits, make 1 in squares: MOVER for any function (for a ratio it is that of Donner & Zou, Stat. Methods
    Med. Res. 2012).

    Args:
        function: of a and b, arrays.
        a, b: (..., 3), each value, low and high.

    Returns:
        (..., 2), the limits.
    """
    ends = []
    for side, extreme in ((1, np.nanmin), (2, np.nanmax)):
        pair = [(x[..., :1], x[..., side, None] - x[..., :1]) for x in (a, b)]
        (a0, da), (b0, db) = pair
        with np.errstate(divide="ignore", invalid="ignore"):
            values = function(a0 + da * np.sin(ANGLES), b0 + db * np.cos(ANGLES))
        empty_ = np.asarray(np.isnan(values).all(axis=-1))
        ends.append(np.where(empty_, np.nan, extreme(np.where(empty_[..., None], 0.0, values), axis=-1)))
    return np.stack(ends, axis=-1)
