"""Conformal prediction sets: the classes that a case may have, so that the true one is among them as often as promised.

A probability of 0.7 promises nothing. A set of classes does: each class has a least probability, fitted on validation
cases of that class alone, from which on it is in the set; then the true class is in the set of a new case in at least
90 of 100, of each class (split conformal prediction by class, or Mondrian: Vovk, Gammerman & Shafer, Algorithmic
Learning in a Random World, 2005, section 4.5; Sadinle, Lei & Wasserman, JASA 2019). What is exchangeable are patients,
so each patient's cases count as one (Dunn, Wasserman & Ramdas, JASA 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medtrain.metric.analysis import Study, analysis
from medtrain.metric.bootstrap import Array, patient_index
from medtrain.metric.classification import Cases, Results
from medtrain.metric.cluster import mean_over_cases, number
from medtrain.metric.interval import write
from medtrain.metric.share import share_forms

COVERAGE = 0.9


def fit_sets(
    probs_NC: Array, target_NC: Array, patients: Sequence[Any] | Array | None, coverage: float = COVERAGE
) -> list[float]:
    """Fit the least probability of each class from which on it belongs to a case's set.

    Of K patients who have cases of a class, it is the highest such limit that lets in the true class of at least
    (K + 1) / K times the coverage of them, the cases of a patient weighing one together. 0, so that the class is in
    every set, where K is too small for any (fewer than 9 for 0.9) or 0.

    Args:
        probs_NC: calibrated probabilities of validation cases.
        target_NC: 1, 0, or NaN where unknown.
        patients: of each case; None makes each case its own.
    """
    patient_N, _ = patient_index(patients, len(probs_NC))
    limits = []
    for c in range(probs_NC.shape[1]):
        own = np.flatnonzero(target_NC[:, c] == 1)
        _, of_own, cases_P = np.unique(patient_N[own], return_inverse=True, return_counts=True)
        order = np.argsort(-probs_NC[own, c], kind="stable")
        let_in = np.cumsum((1 / cases_P)[of_own][order])
        needed = coverage * (len(cases_P) + 1)
        place = int(np.searchsorted(let_in, needed - 1e-9))
        limits.append(float(probs_NC[own[order[place]], c]) if place < len(own) else 0.0)
    return limits


@analysis
def prediction_sets(study: Study) -> Results:
    """Judge the sets that the decision's limits make: how often they hold the truth, and how large they are.

    Returns:
        ``{"prediction_sets": {"promised", "coverage": {CLASS: ENTRY}, "size": ENTRY, "empty", "one", "several"}}``:
        coverage is the mean over patients of the share of the patient's cases of the class whose set holds it; ``size``
        the mean number of classes in a set, the others shares of cases. Where a case may have any number of classes
        each has a set of the answers yes and no, so there are ``coverage_absent`` of the cases without it, and instead
        of one size ``labels``: {CLASS: {"size", "empty", "one", "several"}}. Without limits there is ``reason`` alone.
    """
    limits, cases = study.sets, study.cases
    if not limits.present:
        return {"prediction_sets": {"reason": limits.reason}}
    patient_N, patients = patient_index(cases.patients, len(cases.probs_NC))
    inside_NC = cases.probs_NC >= np.array([limits.present[name] for name in cases.classes])
    sets = {"promised": COVERAGE, "coverage": _coverage(cases, inside_NC, 1, patient_N, patients)}
    if not limits.absent:
        return {"prediction_sets": sets | _sizes(inside_NC.sum(axis=1), patient_N, patients)}
    without_NC = 1 - cases.probs_NC >= np.array([limits.absent[name] for name in cases.classes])
    sizes = zip(cases.classes, (inside_NC.astype(int) + without_NC).T, strict=True)
    sets["coverage_absent"] = _coverage(cases, without_NC, 0, patient_N, patients)
    return {"prediction_sets": sets | {"labels": {name: _sizes(size_N, patient_N, patients) for name, size_N in sizes}}}


def _coverage(cases: Cases, inside_NC: Array, side: int, patient_N: Array, patients: int) -> dict[str, Any]:
    """Compute the mean over patients of the share of their cases on one side of a class whose set holds that side."""
    coverage = {}
    for c, name in enumerate(cases.classes):
        own = cases.target_NC[:, c] == side
        cases_P = np.bincount(patient_N[own], minlength=patients)
        hits_P = np.bincount(patient_N[own & inside_NC[:, c]], minlength=patients)
        share_P = np.divide(hits_P, cases_P, out=np.zeros(patients), where=cases_P > 0)
        values, forms = share_forms(share_P[None], (cases_P > 0).astype(float)[None])
        coverage[name] = write(float(values[0]), forms[0])
    return coverage


def _sizes(size_N: Array, patient_N: Array, patients: int) -> dict[str, Any]:
    """Compute the mean size over cases, with its interval over patients, and the shares of sizes."""
    sums_P = np.bincount(patient_N, size_N, minlength=patients)
    mean, error = mean_over_cases(sums_P[:, None], np.bincount(patient_N, minlength=patients))
    shares: dict[str, Any] = {"empty": size_N == 0, "one": size_N == 1, "several": size_N > 1}
    sizes = {key: float(np.mean(where)) if len(size_N) else None for key, where in shares.items()}
    return {"size": number(float(mean[0]), float(error[0]), patients), **sizes}
