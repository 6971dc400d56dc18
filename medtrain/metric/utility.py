"""Net benefit and the decision curve: is acting on the model better than treating everyone, or no one?

A threshold of t says that one is willing to treat 1/t people to treat one who is ill: (1 - t) / t false positives are
worth a true one. Net benefit counts true positives, less false positives at that price, a case (Vickers & Elkin,
Medical Decision Making 2006; TRIPOD+AI, item 12e).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medtrain.metric.analysis import Study, analysis
from medtrain.metric.bootstrap import Array
from medtrain.metric.classification import Results
from medtrain.metric.cluster import mean_over_cases, number

THRESHOLDS = np.arange(1, 100) / 100


@analysis
def decision_curve(study: Study) -> Results:
    """Compute the decision curve of each class that is looked for, and net benefit at its own threshold.

    Returns:
        ``{"utility": {CLASS: {"prevalence", "curve": [{"threshold", "model", "all", "gain"}], "decision"}}}``:
        ``model`` and ``all`` (treat everyone) are net benefits, ``gain`` is that of the model less the better of
        treating everyone and no one; each with an interval over patients. ``decision`` is such a row at the threshold
        of the decision; None where there is none, or it is 0 or 1.
    """
    curves = {}
    for name in study.looked_for:
        probs_N, positive_N, patient_N = study.one_class(name)
        if not len(probs_N):
            continue
        rows = net_benefit(probs_N, positive_N, patient_N, THRESHOLDS)
        own = study.thresholds.get(name)
        inside = own is not None and 0 < own < 1
        decided = net_benefit(probs_N, positive_N, patient_N, np.array([own]))[0] if inside else None
        curves[name] = {"prevalence": float(positive_N.mean()), "curve": rows, "decision": decided}
    return {"utility": curves or None}


def net_benefit(probs_N: Array, positive_N: Array, patient_N: Array, thresholds_T: Array) -> list[dict[str, Any]]:
    """Compute net benefit at thresholds, with 95 % intervals over patients.

    Args:
        probs_N: calibrated probabilities of the class; a case is treated from the threshold on.
        positive_N: has it the class?
        patient_N: numbers from 0.
        thresholds_T: ascending, within 0 and 1.

    Returns:
        A row a threshold, see `decision_curve`.
    """
    price_T = thresholds_T / (1 - thresholds_T)
    n_patients = int(patient_N.max(initial=-1)) + 1
    passed_N = np.searchsorted(thresholds_T, probs_N, side="right")  # so many thresholds at or below

    def by_patient(kind_N: Array) -> tuple[Array, Array]:
        """Count cases of a kind: treated at each threshold (P, T), and all (P,)."""
        cell = patient_N[kind_N] * (len(thresholds_T) + 1) + passed_N[kind_N]
        counts = np.bincount(cell, minlength=n_patients * (len(thresholds_T) + 1)).reshape(n_patients, -1)
        return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:], counts.sum(axis=1)

    (true_PT, ill_P), (false_PT, well_P) = by_patient(positive_N), by_patient(~positive_N)
    model_PT = true_PT - false_PT * price_T
    all_PT = ill_P[:, None] - well_P[:, None] * price_T
    cases_P = ill_P + well_P
    prevalence = ill_P.sum() / max(1, cases_P.sum())
    better_PT = np.where(prevalence > thresholds_T, all_PT, 0.0)  # treat all is worth more than none below it
    parts = {
        name: mean_over_cases(sums_PT, cases_P)
        for name, sums_PT in (("model", model_PT), ("all", all_PT), ("gain", model_PT - better_PT))
    }
    return [
        {"threshold": float(t)}
        | {name: number(value_T[i], error_T[i], n_patients) for name, (value_T, error_T) in parts.items()}
        for i, t in enumerate(thresholds_T)
    ]
