"""The precision to expect of a study, from the number of its events: before it is done.

How wide a 95 % interval would be depends on few things: events, non-events, what one expects to see, and how alike the
cases of a patient are. Formulas: of the AUROC Newcombe, Statistics in Medicine 2006 (method 4, which is Hanley &
McNeil's with both groups alike); of a share Wilson, JASA 1927; of observed over expected events Riley et al.,
Statistics in Medicine 2021, who use Newcombe's too. Cases of a patient count less than as many patients: by
1 + (m - 1) rho for m cases each with an intraclass correlation rho (Kish 1965).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

Z = float(ndtri(0.975))


def auroc_error(auroc: float, events: float, others: float) -> float:
    """Compute the standard error of an AUROC.

    Raises:
        ValueError: no events or no others, or an AUROC outside 0 to 1.
    """
    if events < 1 or others < 1 or not 0 <= auroc <= 1:
        raise ValueError(f"an AUROC of {auroc} of {events} events and {others} others: there is no standard error")
    half = (events + others) / 2 - 1
    alike = 1 + half * (1 - auroc) / (2 - auroc) + half * auroc / (1 + auroc)
    return float(np.sqrt(auroc * (1 - auroc) * alike / (events * others)))


def share_limits(share: float, n: float) -> tuple[float, float]:
    """Compute Wilson's 95 % interval of a share expected in n cases.

    Raises:
        ValueError: no cases, or a share outside 0 to 1.
    """
    if n <= 0 or not 0 <= share <= 1:
        raise ValueError(f"a share of {share} of {n} cases has no interval")
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def effective(n: float, patients: float, correlation: float = 0.5) -> float:
    """Compute how many independent cases n cases of so many patients are worth: between patients and n."""
    if patients <= 0:
        return 0.0
    per_patient = max(1.0, n / patients)
    return float(n / (1 + (per_patient - 1) * correlation))


def expected_precision(
    events: float,
    others: float,
    *,
    auroc: float = 0.8,
    sensitivity: float = 0.8,
    specificity: float = 0.8,
) -> dict[str, dict[str, Any]]:
    """Compute what a study of so many events and others would tell, if it saw these values.

    Args:
        events, others: cases with and without the finding, as if each had a patient of its own (see `effective`).
        auroc, sensitivity, specificity: what is expected.

    Returns:
        {metric: {"expected", "ci95"}}; ``observed_over_expected`` too, whose limits are those of a calibrated model.
        None where there are no cases.
    """
    out: dict[str, dict[str, Any]] = {}
    both = events >= 1 and others >= 1
    half = Z * auroc_error(auroc, events, others) if both else np.nan
    out["auroc"] = _entry(auroc, (max(0.0, auroc - half), min(1.0, auroc + half)) if both else None)
    out["sensitivity"] = _entry(sensitivity, share_limits(sensitivity, events) if events >= 1 else None)
    out["specificity"] = _entry(specificity, share_limits(specificity, others) if others >= 1 else None)
    if both:
        error = np.sqrt((1 - events / (events + others)) / events)  # of the logarithm
        out["observed_over_expected"] = _entry(1.0, (float(np.exp(-Z * error)), float(np.exp(Z * error))))
    else:
        out["observed_over_expected"] = _entry(1.0, None)
    return out


def _entry(expected: float, limits: tuple[float, float] | None) -> dict[str, Any]:
    return {"expected": expected, "ci95": None if limits is None else list(limits)}
