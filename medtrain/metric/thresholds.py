"""Thresholds of probabilities: reading the policy `eval.threshold`, and choosing one on validation data."""

from __future__ import annotations

import logging
import math
import re

import numpy as np

from medtrain.core.errors import UsageError
from medtrain.metric.bootstrap import Array

log = logging.getLogger(__name__)

ALLOWED = "a number from 0 to 1, youden, sensitivity@X or specificity@X with 0 < X <= 1 (such as sensitivity@0.95)"
Parsed = tuple[str, float]


def parse_policy(policy: str | float) -> Parsed:
    """Read (``fixed``, threshold), (``youden``, nan), (``sensitivity``, X) or (``specificity``, X).

    Raises:
        UsageError: anything else.
    """
    name, value = "", math.nan
    text = str(policy).strip()
    match = re.fullmatch(r"(sensitivity|specificity)@([0-9.]+(?:e-?\d+)?)", text)
    if text == "youden":
        name = text
    else:
        try:
            name, value = (match[1], float(match[2])) if match else ("fixed", float(text))
        except ValueError:
            name = ""
    allowed = name == "youden" or (0 <= value <= 1 if name == "fixed" else 0 < value <= 1)
    if not name or not allowed or isinstance(policy, bool):
        raise UsageError(f"eval.threshold={policy} is not {ALLOWED}.")
    return name, value


def fit_threshold(probs_N: Array, positive_N: Array, parsed: Parsed, name: str = "") -> float:
    """Choose the threshold t (positive: p >= t) that a policy asks for.

    youden: the observed probability with the largest sensitivity + specificity - 1 (Youden 1950), the highest of
    equals. sensitivity@X: the highest t with that sensitivity. specificity@X: the lowest observed probability with
    that specificity (above all of them if need be).
    """
    policy, value = parsed
    if policy == "fixed":
        return value
    positives, negatives = np.sort(probs_N[positive_N])[::-1], np.sort(probs_N[~positive_N])
    if not len(positives) or not len(negatives):
        lacking = "positive" if not len(positives) else "negative"
        log.warning("%s: no %s case in the validation data to fit a threshold on; 0.5 is used", name, lacking)
        return 0.5
    if policy == "sensitivity":
        return float(positives[_needed(value, len(positives)) - 1])
    observed = np.unique(probs_N)
    if policy == "specificity":
        above = observed[observed > negatives[_needed(value, len(negatives)) - 1]]
        return float(above[0]) if len(above) else float(np.nextafter(observed[-1], np.inf))
    accepted = np.searchsorted(-positives, -observed, side="right") / len(positives)
    rejected = np.searchsorted(negatives, observed, side="left") / len(negatives)
    gain = accepted + rejected
    return float(observed[np.flatnonzero(gain >= gain.max() - 1e-12)[-1]])


def _needed(share: float, n: int) -> int:
    """Count how many of n make at least the share, unmoved by rounding (0.7 x 10 is 7, not 7.000000000000001)."""
    return max(1, math.ceil(share * n - 1e-9))
