"""Predictions that are the same for all cases: metrics of them say nothing, whatever the cause."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.special import logit

SAME = 1e-4  # of a logit: what a batch's size may change
MOST = 5  # names in a sentence
CAUSES = (
    "The network has learned nothing that tells cases apart, its inputs are blank (medtrain inspect), or its outputs "
    "have run away (optimizer.lr, trainer.gradient_clip_val)"
)


def constant_scores(scores: Mapping[str, npt.ArrayLike]) -> list[str]:
    """Say which scores between 0 and 1 are the same for all cases, in a sentence; none of fewer than two cases.

    Args:
        scores: of each case, by what they are: ``the probability of sick``.
    """
    same = {name: values[0] for name, one in scores.items() if _is_constant(values := np.asarray(one, np.float64))}
    if not same:
        return []
    number = len(np.asarray(next(iter(scores.values()))))
    named = [f"{name} ({value:.4g})" for name, value in list(same.items())[:MOST]]
    more = f" and of {len(same) - MOST:,} more" * (len(same) > MOST)
    return [f"constant prediction: {', '.join(named)}{more} is the same for all {number:,} cases. {CAUSES}."]


def constant_decisions(decided: npt.ArrayLike, truth: npt.ArrayLike, what: str) -> list[str]:
    """Say that all cases are decided alike, where the truth is not.

    Args:
        decided, truth: of each case, coded alike, NaN or negative where unknown.
        what: the decision, in words: ``predicted as sick``.
    """
    one, known = np.asarray(decided, np.float64), np.asarray(truth, np.float64)
    known = known[known >= 0]
    if len(one) < 2 or len(np.unique(one)) > 1 or len(np.unique(known)) < 2:
        return []
    return [
        f"constant decision: all {len(one):,} cases are {what}, though they are not all alike; where a threshold "
        "decides, eval.threshold=youden chooses it on validation data."
    ]


def _is_constant(values: npt.NDArray[np.float64]) -> bool:
    if len(values) < 2 or not np.isfinite(values).all():
        return False
    if values.min() == values.max():
        return True
    with np.errstate(divide="ignore"):
        ends = logit([values.min(), values.max()])
    return bool(np.isfinite(ends).all() and ends[1] - ends[0] < SAME)
