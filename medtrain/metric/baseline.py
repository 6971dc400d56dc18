"""From risks to chances of survival: the baseline hazard, how much risks count, and where to cut them in two."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from medtrain.metric.bootstrap import Array
from medtrain.metric.follow_up import FollowUp, log_rank

SLOPES = (-4.0, 4.0)  # of the logarithm of a slope
STEPS = 200  # of a baseline, at most
MIDDLE = (0.1, 0.9)  # quantiles of risk between which a cut-off may lie
CUTS = 81
FAR = 300.0  # of a log hazard


def breslow(risk_N: Array, cases: FollowUp) -> tuple[Array, Array]:
    """Estimate the cumulative hazard of a case of risk 0 (Breslow, J. R. Statist. Soc. B 1972).

    Args:
        risk_N: log hazard ratios.

    Returns:
        Times with an event, ascending, and the hazard up to each; of more than `STEPS` times, as many of them.
    """
    time_N, event_N = np.asarray(cases.time_N, np.float64), np.asarray(cases.event_N, bool)
    order = np.argsort(time_N, kind="stable")
    ratio_N = np.exp(np.clip(risk_N[order], -FAR, FAR))
    at_risk_N = np.cumsum(ratio_N[::-1])[::-1]
    times_K, count_K = np.unique(time_N[event_N], return_counts=True)
    first_K = np.searchsorted(time_N[order], times_K, side="left")
    hazard_K = np.cumsum(count_K / at_risk_N[first_K])
    if len(times_K) > STEPS:
        some = np.unique(np.linspace(0, len(times_K) - 1, STEPS).round().astype(np.int64))
        times_K, hazard_K = times_K[some], hazard_K[some]
    return times_K, hazard_K


def fit_slope(risk_N: Array, cases: FollowUp) -> float:
    """Fit by how much risks are to be multiplied, by Cox's partial likelihood (Breslow's ties) on cases not learned.

    Returns:
        A positive number; 1 where nothing tells (fewer than two events, or equal risks).
    """
    time_N, event_N = np.asarray(cases.time_N, np.float64), np.asarray(cases.event_N, bool)
    if event_N.sum() < 2 or np.ptp(risk_N) == 0:
        return 1.0
    order = np.argsort(-time_N, kind="stable")
    x_N = (risk_N - risk_N.mean())[order]
    last_N = np.searchsorted(-time_N[order], -time_N[order], side="right") - 1

    def loss(log_slope: float) -> float:
        own = np.clip(np.exp(log_slope) * x_N, -FAR, FAR)
        at_risk_N = np.logaddexp.accumulate(own)[last_N]
        return float((at_risk_N - own)[event_N[order]].sum())

    return float(np.exp(minimize_scalar(loss, bounds=SLOPES, method="bounded").x))


def best_cutoff(risk_N: Array, cases: FollowUp) -> float:
    """Find the cut-off of risk that tells survival apart best (greatest log-rank statistic) in the middle of the risks.

    Chosen out of many, its own p value means nothing: only other cases can say what it is worth.
    """
    candidates = np.unique(np.quantile(risk_N, np.linspace(*MIDDLE, CUTS)))
    tests = [log_rank(cases, risk_N >= cut) for cut in candidates]
    statistics = [0.0 if test is None else test[0] for test in tests]
    return float(candidates[int(np.argmax(statistics))])
