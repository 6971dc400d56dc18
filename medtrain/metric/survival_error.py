"""How far predicted chances of survival lie from what happened: Brier score and calibration at horizons."""

from __future__ import annotations

from typing import Any

import numpy as np

from medtrain.metric.bootstrap import Array
from medtrain.metric.concordance import Estimate
from medtrain.metric.follow_up import FollowUp, censoring, kaplan_meier

BINS = 10
FEWEST = 10  # cases a bin


def brier_parts(survival_NH: Array, cases: FollowUp, horizons: Array) -> Array:
    """Compute what each case adds to the Brier score at each horizon, (N, H).

    (1[t > h] - S(h))^2, weighted by 1 over the chance of being still followed at the event or the horizon, 0 of cases
    censored before it (Graf et al., Stat. Med. 1999, eq. 3); NaN where nobody is followed as long.
    """
    curve, time_N = censoring(cases), np.asarray(cases.time_N, np.float64)
    event_N = np.asarray(cases.event_N, bool)
    left_N = curve.value_at(time_N)[:, None]
    left_H = curve.value_at(horizons)
    early = (time_N[:, None] <= horizons) & event_N[:, None]
    beyond = time_N[:, None] > horizons
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(early, survival_NH**2 / left_N, 0.0) + np.where(beyond, (1 - survival_NH) ** 2 / left_H, 0.0)
    usable_H = np.isfinite(parts).all(axis=0) & beyond.any(axis=0)
    return np.where(usable_H, parts, np.nan)


def brier(parts_N: Array) -> Estimate:
    """Average what the cases add."""
    value, n = float(parts_N.mean()), len(parts_N)
    return Estimate(value, (parts_N - value) / n, np.ones((2, n), bool))


def integrated(parts_NH: Array, horizons: Array) -> Array | None:
    """Integrate over the horizons by trapezoids and divide by their range, (N,); None with fewer than two usable."""
    usable = np.isfinite(parts_NH).all(axis=0)
    if usable.sum() < 2:
        return None
    own = np.asarray(horizons, np.float64)[usable]
    return np.asarray(np.trapezoid(parts_NH[:, usable], own, axis=1) / (own[-1] - own[0]))


def calibration_at(survival_N: Array, cases: FollowUp, horizon: float) -> dict[str, Any]:
    """Compare predicted chances of the event by a horizon with Kaplan-Meier's, in groups of equal size.

    Returns:
        ``{"predicted", "observed", "ci95", "bins": [{"n", "predicted", "observed", "ci95"}]}``, chances of the event;
        observed and its interval None where nobody is followed as long.
    """
    order = np.argsort(survival_N, kind="stable")[::-1]
    number = max(1, min(BINS, len(order) // FEWEST))
    bins = [_compared(survival_N[rows], cases.select(rows), horizon) for rows in np.array_split(order, number)]
    return _compared(survival_N, cases, horizon) | {"bins": bins}


def _compared(survival_N: Array, cases: FollowUp, horizon: float) -> dict[str, Any]:
    curve = kaplan_meier(cases)
    entry = {"n": len(survival_N), "predicted": float(1 - survival_N.mean()), "observed": None, "ci95": None}
    if not curve.at_risk(horizon) and curve.value_at(horizon) > 0:
        return entry
    low, high = curve.limits(horizon).tolist()
    known = np.isfinite([low, high]).all()
    return entry | {"observed": float(1 - curve.value_at(horizon)), "ci95": [1 - high, 1 - low] if known else None}
