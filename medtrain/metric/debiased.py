"""The calibration error without the error of few cases: value and interval.

A calibrated model has an expected calibration error (ECE) above 0 in any sample, for the shares of bins deviate by
chance, and deviations are added without their sign (Kumar et al., Verified Uncertainty Calibration, NeurIPS 2019).
What one wants to know is the error of the same bins in a million cases. It is found as one asks of any biased number:
from which true error would the one seen be expected, and from which would it be a rare one (a test inverted)? True
deviations are taken to be those seen, all made smaller or larger by one factor; their errors are normal, with the
covariance that patients show, and no less than that of a calibrated model.

An error that is smaller than chance alone would show is no proof of a small one: the upper limit is no lower than what
a calibrated model shows (as limits are constrained by their power: Cowan et al., arXiv:1105.3166). Where probabilities
are so sure that not even one case is expected to go against them, and none does, it is what none of so many patients
lets one say (the rule of three: Hanley & Lippman-Hand, JAMA 1983).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from medtrain.core.streams import stream
from medtrain.metric.bootstrap import Array
from medtrain.metric.calibration import Reliability
from medtrain.metric.interval import TAIL, Limits, Z, quantile
from medtrain.metric.share import mid_p

DRAWS = 1000
STEPS = 25


@dataclass(frozen=True)
class CalibrationError:
    """The expected calibration error seen through its own noise.

    Args:
        plain: what is seen.
        if_calibrated: what a calibrated model would be expected to show in as many cases.
        value: without bias; 0 where less is seen than of a calibrated model.
        limits: of the true error; NaN where nothing is known of it.
    """

    plain: float
    if_calibrated: float
    value: float
    limits: Limits


def calibration_error(bins: Reliability, patient_N: Array, n_patients: int, limits: bool = True) -> CalibrationError:
    """Compute the calibration error of a diagram over patients.

    Args:
        bins: of N cases.
        patient_N: the number of each case's patient.
        limits: whether they are wanted, which takes far longer than the value; else they are NaN.
    """
    n = len(bins.bin_N)
    if not n:
        return CalibrationError(np.nan, np.nan, np.nan, (np.nan, np.nan))
    seen_B, covariance_BB, chance_B = _deviations(bins, patient_N, n_patients)
    sd_B = np.sqrt(np.diag(covariance_BB))
    least_B = np.sqrt(chance_B)
    plain = float(np.abs(seen_B).sum())
    if_calibrated = float(np.sqrt(2 / np.pi) * least_B.sum())
    wide_B = np.maximum(sd_B, least_B)

    def expected(factor: float) -> float:
        return float(_folded(factor * seen_B, wide_B).sum())

    value = plain * _bisect(lambda factor: expected(factor) < plain, 1.0) if plain > expected(0.0) else 0.0
    if n_patients < 2 or not limits:
        return CalibrationError(plain, if_calibrated, value, (np.nan, np.nan))
    noise_RB = _noise(covariance_BB, wide_B) * quantile(n_patients) / Z

    def share_below(factor: float) -> float:
        return float((np.abs(factor * seen_B + noise_RB).sum(axis=1) <= plain).mean())

    most = 1.0 + float(np.abs(noise_RB).sum(axis=1).max()) / max(plain, 1e-12)
    low = _bisect(lambda factor: share_below(factor) > 1 - TAIL, most) if share_below(0.0) > 1 - TAIL else 0.0
    high = plain * _bisect(lambda factor: share_below(factor) > TAIL, most)
    unseen = float(mid_p(np.array(0.0), np.array(n_patients))[1]) if _too_sure(bins) else 0.0
    return CalibrationError(plain, if_calibrated, value, (plain * low, min(1.0, max(high, if_calibrated, unseen))))


def _too_sure(bins: Reliability) -> bool:
    """Tell whether fewer than one case is expected to go against its probability, and none does."""
    expected = float((bins.probs_N * (1 - bins.probs_N)).sum())
    return expected < 1 and bool((np.abs(bins.positive_N - bins.probs_N) < 0.5).all())


def _deviations(bins: Reliability, patient_N: Array, n_patients: int) -> tuple[Array, Array, Array]:
    """Compute the signed deviation of each bin, their covariance over patients, and variances if calibrated.

    Deviations are shares of all cases: their absolute values add up to the ECE.
    """
    n, b = len(bins.bin_N), bins.bins
    residual_N: Array = bins.positive_N - bins.probs_N
    cell_N = patient_N * b + bins.bin_N
    sums_PB = np.bincount(cell_N, residual_N, minlength=n_patients * b).reshape(n_patients, b)
    seen_B = sums_PB.sum(axis=0) / n
    cases_P = np.bincount(patient_N, minlength=n_patients)
    error_PB = (sums_PB - cases_P[:, None] * seen_B) / n
    covariance_BB = error_PB.T @ error_PB * n_patients / max(1, n_patients - 1)
    alone_B = np.bincount(bins.bin_N, residual_N**2, minlength=b) / (n * max(1, n - 1))
    effect = max(1.0, float(np.trace(covariance_BB)) / max(float(alone_B.sum()), 1e-300))
    chance_B = np.bincount(bins.bin_N, bins.probs_N * (1 - bins.probs_N), minlength=b) / n**2
    return seen_B, covariance_BB, effect * chance_B


def _folded(mean_B: Array, sd_B: Array) -> Array:
    """Compute the expected absolute value of normal numbers."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z_B = np.where(sd_B > 0, mean_B / sd_B, 0.0)
    inner = sd_B * np.sqrt(2 / np.pi) * np.exp(-(z_B**2) / 2) + mean_B * (1 - 2 * ndtr(-z_B))
    return np.where(sd_B > 0, inner, np.abs(mean_B))


def _noise(covariance_BB: Array, wide_B: Array) -> Array:
    """Draw errors of the deviations, (R, B), with at least the given spread."""
    sd_B = np.sqrt(np.diag(covariance_BB))
    scale_B = np.divide(wide_B, sd_B, out=np.zeros_like(wide_B), where=sd_B > 0)
    values, vectors = np.linalg.eigh(scale_B[:, None] * covariance_BB * scale_B)
    root = vectors * np.sqrt(np.maximum(values, 0))
    draw = stream(0, "calibration")
    shared_RB = draw.normal(size=(DRAWS, len(sd_B))) @ root.T
    return np.asarray(np.where(sd_B > 0, shared_RB, draw.normal(size=shared_RB.shape) * wide_B))


def _bisect(more, high: float) -> float:  # type: ignore[no-untyped-def]
    """Find the factor up to which more is needed."""
    low = 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if more(middle) else (low, middle)
    return (low + high) / 2
