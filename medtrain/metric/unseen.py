"""What the mean of all members would say of a case, from those members that have not learned it.

A threshold for the mean of k networks has to be fitted on means of k networks. In a cross-validation nobody has them: a
case was predicted by the network that tested it and by the one that validated on it, and all others have learned it.
Single predictions vary more than their mean, so a threshold that finds 95 % of the positives among them lies too low
for the mean. So the missing predictions are drawn from a model of those that are there.

Log-odds of member m for case x are taken as u(x) + b(m) + e(x, m). Members are exchangeable for a case that none of
them has learned: b is a member's own level, e has one variance for all (a two-way model with one observation a cell;
Searle, Casella & McCulloch, Variance Components, 1992, chapter 4). The case effects u are known up to the noise of few
members, so they are drawn towards the mean of their class by as much as restores their variance.
"""

from __future__ import annotations

import numpy as np

from medtrain.core.streams import stream
from medtrain.metric.bootstrap import Array

DRAWS = 20


def means_of_all(logits_NS: Array, positive_N: Array, draws: int = DRAWS, seed: int = 0) -> Array | None:
    """Draw the mean probability of all S members for N cases, [D, N].

    Args:
        logits_NS: log-odds of a class; NaN where the member has learned the case. Each case has one at least.
        positive_N: whether the case has the class.
        draws: D.
        seed: of the draws.

    Returns:
        None where too few cases have several predictions to know how much members differ.
    """
    there_NS = np.isfinite(logits_NS)
    n_N = there_NS.sum(axis=1)
    freedom = int(n_N.sum()) - logits_NS.shape[0] - logits_NS.shape[1] + 1
    if freedom < 1:
        return None
    level_S = member_levels(logits_NS, there_NS)
    case_N = np.where(there_NS, logits_NS - level_S, 0).sum(axis=1) / n_N
    rest_NS = np.where(there_NS, logits_NS - case_N[:, None] - level_S, 0)
    variance = float((rest_NS**2).sum() / freedom)
    for own_N in (positive_N, ~positive_N):
        case_N[own_N] = _narrowed(case_N[own_N], variance / n_N[own_N])
    noise = stream(seed, "members").normal(0, np.sqrt(variance), (draws, *logits_NS.shape))
    odds = case_N[:, None] + level_S + noise
    return np.asarray((1 / (1 + np.exp(-np.clip(odds, -700, 700)))).mean(axis=2))


def member_levels(logits_NS: Array, there_NS: Array) -> Array:
    """Fit the members' levels by least squares, sum 0; the case effects are eliminated."""
    share_NS = there_NS / there_NS.sum(axis=1, keepdims=True)
    mean_N = np.where(there_NS, logits_NS, 0).sum(axis=1) / there_NS.sum(axis=1)
    left = np.diag(there_NS.sum(axis=0).astype(float)) - share_NS.T @ there_NS
    right = np.where(there_NS, logits_NS - mean_N[:, None], 0).sum(axis=0)
    level_S = np.linalg.lstsq(left, right, rcond=None)[0]
    return np.asarray(level_S - level_S.mean())


def _narrowed(case_N: Array, noise_N: Array) -> Array:
    """Move estimates with noise of known variance towards their mean until they vary as what they estimate does."""
    if len(case_N) < 2:
        return case_N
    mean, true = case_N.mean(), max(0.0, case_N.var(ddof=1) - noise_N.mean())
    with np.errstate(invalid="ignore"):
        return np.asarray(mean + np.nan_to_num(np.sqrt(true / (true + noise_N))) * (case_N - mean))
