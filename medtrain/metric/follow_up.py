"""How long cases were followed, and what became of them: Kaplan-Meier, censoring, and the log-rank test.

A case is followed for a time, at whose end an event was seen or not (the case is censored: lost, or well at the end of
the study). Leaving censored cases out, or counting them as well for good, biases everything; so all that is computed of
times goes through the numbers at risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import chdtrc

from medtrain.metric.bootstrap import Array
from medtrain.metric.interval import Z


@dataclass(frozen=True)
class FollowUp:
    """What is known of N cases.

    Args:
        time_N: how long each was followed, above 0.
        event_N: whether the event was seen at the end of that.
        patients: of each case; None: each is its own.

    Raises:
        ValueError: arrays that don't fit together, or a time that is none.
    """

    time_N: Array
    event_N: Array
    patients: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if np.shape(self.time_N) != np.shape(self.event_N):
            raise ValueError(f"{len(self.time_N)} times for {len(self.event_N)} events")
        if not (np.isfinite(self.time_N).all() and (np.asarray(self.time_N) > 0).all()):
            raise ValueError("a time of follow-up is no positive number")

    def select(self, keep: Any) -> FollowUp:
        """Take some cases, by number or where `keep` is true."""
        rows = np.arange(len(self.time_N))[keep]
        patients = None if self.patients is None else [self.patients[row] for row in rows]
        return FollowUp(self.time_N[rows], self.event_N[rows], patients)


@dataclass(frozen=True)
class Curve:
    """A survival function as steps: its value from each of K distinct times on.

    Args:
        times_K: ascending; before the first one the value is 1.
        survival_K: from there on.
        at_risk_K: cases followed up to there.
        events_K: seen there.
    """

    times_K: Array
    survival_K: Array
    at_risk_K: Array
    events_K: Array

    def value_at(self, times: Any) -> Array:
        """Read the curve at any times, after what happens there."""
        step = np.searchsorted(self.times_K, times, side="right")
        return np.concatenate([[1.0], self.survival_K])[step]

    def at_risk(self, times: Any) -> Array:
        """Count the cases followed up to these times or longer."""
        return np.append(self.at_risk_K, 0)[np.searchsorted(self.times_K, times, side="left")]

    def limits(self, times: Any) -> Array:
        """Compute 95 % limits, (..., 2), by Greenwood's variance on the scale log(-log S), which stays within 0..1.

        (Kalbfleisch & Prentice, The Statistical Analysis of Failure Time Data, 2002, section 1.4.) NaN where the curve
        is 1 or 0: no event, or nobody left, shows no spread.
        """
        left = self.at_risk_K - self.events_K
        with np.errstate(divide="ignore", invalid="ignore"):
            greenwood_K = np.cumsum(self.events_K / (self.at_risk_K * left))
            step = np.searchsorted(self.times_K, times, side="right")
            variance, survival = np.concatenate([[0.0], greenwood_K])[step], self.value_at(times)
            spread = Z * np.sqrt(variance) / np.abs(np.log(survival))
            ends = np.stack([survival ** np.exp(spread), survival ** np.exp(-spread)], axis=-1)
        usable = (survival > 0) & (survival < 1) & np.isfinite(spread)
        return np.where(usable[..., None], ends, np.nan)

    def median(self) -> float | None:
        """Find the time by which half of the cases have had the event; None where fewer ever have."""
        below = np.flatnonzero(self.survival_K <= 0.5)
        return float(self.times_K[below[0]]) if len(below) else None


def kaplan_meier(cases: FollowUp) -> Curve:
    """Estimate the survival function (Kaplan & Meier, JASA 1958)."""
    times_K, events_K, _, at_risk_K = _counted(cases)
    return Curve(times_K, np.cumprod(1 - events_K / at_risk_K), at_risk_K, events_K)


def censoring(cases: FollowUp) -> Curve:
    """Estimate the chance of being still followed; of equal times the events come first, so they are not at risk."""
    times_K, events_K, censored_K, at_risk_K = _counted(cases)
    left_K = at_risk_K - events_K
    steps_K = 1 - np.divide(censored_K, left_K, out=np.zeros(len(left_K)), where=left_K > 0)
    return Curve(times_K, np.cumprod(steps_K), left_K, censored_K)


def _counted(cases: FollowUp) -> tuple[Array, Array, Array, Array]:
    """Count events, censored cases and cases at risk at each distinct time."""
    times_K, index_N = np.unique(np.asarray(cases.time_N, np.float64), return_inverse=True)
    event_N = np.asarray(cases.event_N, bool)
    events_K, censored_K = (np.bincount(index_N[side], minlength=len(times_K)) for side in (event_N, ~event_N))
    return times_K, events_K, censored_K, np.cumsum((events_K + censored_K)[::-1])[::-1]


def log_rank(cases: FollowUp, groups_N: Array) -> tuple[float, float] | None:
    """Test whether groups have the same survival (Mantel 1966; Peto & Peto 1972).

    Args:
        groups_N: the group of each case, any labels.

    Returns:
        Chi-squared and its p; None where there is one group, or no event that could tell them apart.
    """
    names, group_N = np.unique(np.asarray(groups_N), return_inverse=True)
    event_N, time_N = np.asarray(cases.event_N, bool), np.asarray(cases.time_N, np.float64)
    times = np.unique(time_N[event_N])
    if len(names) < 2 or not len(times):
        return None
    member_GN = group_N == np.arange(len(names))[:, None]
    by_time = np.sort(time_N)
    n_K = len(time_N) - np.searchsorted(by_time, times, side="left")
    at_risk_GK = np.stack([(own).sum() - np.searchsorted(np.sort(time_N[own]), times, "left") for own in member_GN])
    events_GK = np.stack(
        [np.bincount(np.searchsorted(times, time_N[own & event_N]), minlength=len(times)) for own in member_GN]
    )
    d_K = events_GK.sum(axis=0)
    share_GK = at_risk_GK / n_K
    excess_G = (events_GK - d_K * share_GK).sum(axis=1)
    factor_K = d_K * np.divide(n_K - d_K, n_K - 1, out=np.zeros(len(n_K)), where=n_K > 1)
    variance_GG = np.diag((factor_K * share_GK).sum(axis=1)) - (factor_K * share_GK) @ share_GK.T
    inverse = np.linalg.pinv(variance_GG[:-1, :-1])
    freedom = np.linalg.matrix_rank(variance_GG[:-1, :-1])
    if not freedom:
        return None
    statistic = float(excess_G[:-1] @ inverse @ excess_G[:-1])
    return statistic, float(chdtrc(freedom, statistic))
