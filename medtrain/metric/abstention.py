"""The quality of a model on the cases that it is sure of, when the least certain ones go to a person.

The risk-coverage curve (El-Yaniv & Wiener, On the foundations of noise-free selective classification, JMLR 2010),
with every metric in place of the risk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from medtrain.metric.bootstrap import Array
from medtrain.metric.classification import Cases, Measured
from medtrain.metric.sheet import Sheet

SHARES = tuple(round(1 - 0.05 * i, 2) for i in range(11))
"""1.0, 0.95 ... 0.5 of the cases are kept."""
_TINY = 1e-12


def abstention_curve(
    cases: Cases, sheet: type[Sheet], uncertainty: npt.ArrayLike, shares: Sequence[float] = SHARES
) -> list[dict[str, Any]]:
    """Compute the metrics of `evaluate`, without intervals, when only the most certain share of cases is kept.

    Args:
        cases, sheet: as `evaluate` takes them.
        uncertainty: [N], high where unsure; or [N, C]: each label is kept or left by its own.
        shares: of the cases with a known label; rounded up to whole cases. Of equals the first are kept.

    Returns:
        ``[{"kept", "n_cases", "metrics": {NAME: {"value", "ci95"}}}]``, a row a share; ``n_cases`` have a label left.
    """
    doubt_ND = np.asarray(uncertainty, np.float64).reshape(len(cases.target_NC), -1)
    known_ND = np.isfinite(cases.target_NC[:, : doubt_ND.shape[1]])
    rank_ND = _ranks(np.where(known_ND, doubt_ND, np.inf))
    rows = []
    for share in shares:
        limit_D = [math.ceil(share * n - 1e-9) for n in known_ND.sum(axis=0)]
        selected_ND = known_ND & (rank_ND < limit_D)
        selected = replace(cases, target_NC=np.where(selected_ND, cases.target_NC, np.nan))
        metrics = Measured(selected, sheet, bootstrap=0, seed=0).metrics()["metrics"]
        rows.append({"kept": share, "n_cases": int(selected_ND.any(axis=1).sum()), "metrics": metrics})
    return rows


def _ranks(doubt_NC: Array) -> Array:
    """Rank the entries of each column from 0, the smallest first."""
    return np.asarray(np.argsort(np.argsort(doubt_NC, axis=0, kind="stable"), axis=0, kind="stable"))


def distance(probs: npt.ArrayLike, thresholds: npt.ArrayLike) -> Array:
    """Measure how near probabilities are to their thresholds, in log-odds: 0 on it, else negative.

    In log-odds both sides of a threshold near 0 or 1 count alike.

    Args:
        probs: any shape.
        thresholds: of a shape that broadcasts.
    """
    limits = np.clip(np.asarray(thresholds, np.float64), _TINY, 1 - _TINY)
    return np.asarray(-np.abs(logit(np.clip(np.asarray(probs, np.float64), _TINY, 1 - _TINY)) - logit(limits)))


def lead(probs_NC: npt.ArrayLike) -> Array:
    """Measure by how much the most probable class leads the next, [N], negative."""
    ordered = np.sort(np.asarray(probs_NC, np.float64), axis=1)
    return np.asarray(ordered[:, -2] - ordered[:, -1])


def spread(probs_NSC: npt.ArrayLike) -> Array:
    """Compute the standard deviation (n - 1) over S predictions a case, [N, C]."""
    return np.asarray(np.std(np.asarray(probs_NSC, np.float64), axis=1, ddof=1))
