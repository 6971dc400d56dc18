"""Standard errors of means and regressions over cases whose patients are drawn, not they themselves.

The linear ones: no replicates are needed. Each patient's contribution to the estimating equation is one draw (Binder,
International Statistical Review 1983; Liang & Zeger, Biometrika 1986).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medtrain.metric.bootstrap import Array
from medtrain.metric.interval import NOTHING, Form, real, write


def mean_over_cases(sums_PT: Array, cases_P: Array) -> tuple[Array, Array]:
    """Compute means over cases and their standard errors over patients.

    Args:
        sums_PT: the sum of each of T quantities over a patient's cases.
        cases_P: how many cases.

    Returns:
        (T,) means and standard errors: of a ratio of two sums over patients, linearised; NaN of one patient.
    """
    n, patients = max(1, int(cases_P.sum())), len(cases_P)
    mean_T = sums_PT.sum(axis=0) / n
    if patients < 2:
        return mean_T, np.full(len(mean_T), np.nan)
    residual_PT = sums_PT - cases_P[:, None] * mean_T
    return mean_T, np.sqrt((residual_PT**2).sum(axis=0) * patients / (patients - 1)) / n


def sandwich(design_NK: Array, residual_N: Array, information_KK: Array, patient_N: Array) -> Array:
    """Compute the covariance (K, K) of regression coefficients over patients: A^-1 B A^-1.

    Args:
        design_NK: the terms of each case.
        residual_N: outcome less prediction.
        information_KK: A, the Hessian of the negative log-likelihood.
        patient_N: numbers from 0.
    """
    patients = int(patient_N.max(initial=-1)) + 1
    score_KP = np.stack([np.bincount(patient_N, term * residual_N, minlength=patients) for term in design_NK.T])
    inverse = np.linalg.inv(information_KK)
    middle = score_KP @ score_KP.T * (patients / max(1, patients - 1))
    return np.asarray(inverse @ middle @ inverse)


def number(value: float, error: float, patients: int) -> dict[str, Any]:
    """Write a number without bounds and its interval by Student's t."""
    return write(float(value), Form(real(float(value), float(error) ** 2, patients), (patients,), ends=NOTHING))
