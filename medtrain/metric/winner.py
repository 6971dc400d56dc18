"""What the best of many is worth: its score on the cases by which it was chosen is too good by as much as luck gives.

The correction is that of Tsamardinos, Greasidou and Borboudakis (Machine Learning 2018, BBC-CV): in each bootstrap
sample of patients the winner is chosen anew, by the patients that the sample holds, and judged by those that it lacks,
which had no part in the choice. The mean of these is what the way of choosing is worth. It leans to the low side, since
a choice by 63 % of the patients is a little worse than one by all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medtrain.core.streams import stream
from medtrain.metric.bootstrap import Array

METHOD = (
    "bootstrap bias correction (Tsamardinos et al. 2018): in each bootstrap sample of the validation patients the best "
    "is chosen by the patients within and judged by those without"
)
LEAST = 20  # replicates; of fewer the mean is not told


def bags(patients: int, replicates: int, seed: int = 0) -> Array:
    """Draw which patients bootstrap samples hold, (R, P) of bool; the first replicates are the same whatever R is."""
    rng = stream(seed, "winner", patients)
    inside_RP = np.zeros((replicates, patients), bool)
    for row in inside_RP:
        row[rng.integers(0, patients, patients)] = True
    return inside_RP


def corrected(inside_TR: Sequence[Sequence[float]], outside_TR: Sequence[Sequence[float]], mode: str) -> dict[str, Any]:
    """Compute what the best of T candidates is worth.

    Args:
        inside_TR, outside_TR: the score of each candidate on the patients within and without each bootstrap sample, the
            same samples for all; NaN where it is undefined.
        mode: max or min is best.

    Returns:
        ``value`` and ``replicates``, of which all candidates have both scores; ``value`` None with the ``reason``.
    """
    within, without = np.asarray(inside_TR, float), np.asarray(outside_TR, float)
    defined = np.isfinite(within).all(axis=0) & np.isfinite(without).all(axis=0)
    number = int(defined.sum())
    if number < LEAST:
        reason = f"the score is defined in {number} of {within.shape[1]} bootstrap samples: too few validation patients"
        return {"value": None, "replicates": number, "reason": reason}
    within, without = within[:, defined], without[:, defined]
    winner_R = within.argmax(axis=0) if mode == "max" else within.argmin(axis=0)
    return {"value": float(without[winner_R, np.arange(number)].mean()), "replicates": number, "method": METHOD}
