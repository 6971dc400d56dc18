"""Do predicted probabilities mean what they say? Equal-mass bins for the ECE and the reliability diagram.

Equal-width bins leave most bins of a rare finding empty; bins of equal mass do not (Nixon et al., Measuring
Calibration in Deep Learning, 2019).
"""

from __future__ import annotations

import numpy as np

from medtrain.metric.bootstrap import Array

BINS = 15


def equal_mass_bins(probs_N: Array, bins: int = BINS) -> Array:
    """The bin, 0..bins-1, of each probability: its rank cut into equal parts, equal probabilities together."""
    rank_N = np.searchsorted(np.sort(probs_N), probs_N, side="left")
    return rank_N * bins // max(1, len(probs_N))


def residuals(probs_N: Array, target_N: Array, bins: int = BINS) -> Array:
    """residual_NB: observed minus predicted, in the column of the case's bin.

    The expected calibration error (Guo et al., On Calibration of Modern Neural Networks, 2017, eq. 3) of any case
    weights w is ``abs(w @ residual_NB).sum() / w.sum()``: the bins stay those of the whole data.
    """
    residual_NB = np.zeros((len(probs_N), bins))
    residual_NB[np.arange(len(probs_N)), equal_mass_bins(probs_N, bins)] = target_N - probs_N
    return residual_NB


def reliability(probs_N: Array, target_N: Array, bins: int = BINS) -> tuple[Array, Array, Array]:
    """Points of the reliability diagram: mean predicted, share observed and number of cases of each bin in use."""
    bin_N = equal_mass_bins(probs_N, bins)
    count = np.bincount(bin_N, minlength=bins)
    used = count > 0
    predicted = np.bincount(bin_N, weights=probs_N, minlength=bins)[used] / count[used]
    observed = np.bincount(bin_N, weights=target_N, minlength=bins)[used] / count[used]
    return predicted, observed, count[used]
