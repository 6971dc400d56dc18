"""Calibration of predicted probabilities: equal-mass bins for the ECE and the reliability diagram.

Equal-width bins leave most bins of a rare finding empty; bins of equal mass do not (Nixon et al., Measuring
Calibration in Deep Learning, 2019).
"""

from __future__ import annotations

import numpy as np

from medtrain.metric.bootstrap import Array
from medtrain.metric.ranking import ratio

BINS = 15


class Reliability:
    """Equal-mass bins of N probabilities, ready for any weights; the bins stay those of the whole data.

    Args:
        probs_N: probabilities.
        target_N: 1 or 0.

    Attributes:
        bin_N: the bin of each case.
        rows_N, values_N: two entries a case, concatenated: its probability in its bin's first sum; 1 in its bin's
            second sum if positive, in its third if negative.
        n_rows: how many sums, three a bin.
    """

    def __init__(self, probs_N: Array, target_N: Array, bins: int = BINS) -> None:
        self.bins, self.n_rows = bins, 3 * bins
        self.probs_N, self.positive_N = probs_N, target_N > 0.5
        self.bin_N = equal_mass_bins(probs_N, bins)
        self.rows_N = np.concatenate([self.bin_N, np.where(self.positive_N, bins, 2 * bins) + self.bin_N])
        self.values_N = np.concatenate([probs_N, np.ones(len(probs_N))])

    def sums(self, weights_N: Array) -> Array:
        """Sum one weighting of the cases into sums_BR (R = 1)."""
        values = self.values_N * np.tile(weights_N, 2)
        return np.asarray(np.bincount(self.rows_N, values, minlength=self.n_rows)[:, None])

    def error(self, sums_BR: Array) -> Array:
        """Compute the expected calibration error.

        Guo et al., On Calibration of Modern Neural Networks, 2017, eq. 3.
        """
        predicted, positive, negative = np.split(sums_BR, 3)
        return ratio(np.abs(positive - predicted).sum(axis=0), (positive + negative).sum(axis=0))

    def shares(self, sums_BR: Array) -> tuple[Array, Array, Array]:
        """Compute n_BR, mean predicted_BR and share observed_BR of each bin; NaN where a bin is empty."""
        predicted, positive, negative = np.split(sums_BR, 3)
        n = positive + negative
        return n, ratio(predicted, n), ratio(positive, n)


def equal_mass_bins(probs_N: Array, bins: int = BINS) -> Array:
    """Put each probability into a bin, 0..bins-1, by its rank; equal probabilities share a bin."""
    rank_N = np.searchsorted(np.sort(probs_N), probs_N, side="left")
    return rank_N * bins // max(1, len(probs_N))


def reliability(probs_N: Array, target_N: Array, bins: int = BINS) -> tuple[Array, Array, Array]:
    """Compute the reliability diagram: mean predicted, share observed and number of cases of each bin in use."""
    sheet = Reliability(probs_N, target_N, bins)
    n, predicted, observed = sheet.shares(sheet.sums(np.ones(len(probs_N))))
    used = n[:, 0] > 0
    return predicted[used, 0], observed[used, 0], n[used, 0]
