"""Simulated studies of quantities and grades, whose true agreement is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from coverage_classes import PLENTY
from coverage_results import Array, Result, from_entry

from medtrain.metric import (
    Cases,
    EvalOptions,
    Measurements,
    OrderedSheet,
    evaluate,
    evaluate_values,
    percentile_interval,
)
from medtrain.metric.agreement import Agreement

Results = dict[str, Result]
ERROR, BIAS = 0.6, 0.2  # of predictions, in standard deviations of the truth
ALIKE = 0.5  # share of the variance that the images of a patient have in common
GRADES = 5
JUDGED = ("mae", "rmse", "r2", "pearson", "spearman", "concordance", "bias", "loa_low", "loa_high", "coverage")
OF_GRADES = ("kappa_quadratic", "kappa_linear", "mae_grades", "within_one")


def draw_values(rng: np.random.Generator, patients: int, images: int) -> tuple[Array, Array, Array]:
    """Draw truths, predictions, and the number of each one's patient."""
    patient_N = np.repeat(np.arange(patients), images)
    truth, error = (
        np.sqrt(ALIKE) * rng.normal(size=patients)[patient_N] + np.sqrt(1 - ALIKE) * rng.normal(size=patients * images)
        for _ in range(2)
    )
    return truth, truth + BIAS + ERROR * error, patient_N


@lru_cache
def true_values() -> dict[str, float]:
    """Read the truths from very many patients of one image each."""
    truth, predicted, _ = draw_values(np.random.default_rng(1), PLENTY, 1)
    cases = Measurements(predicted[:, None], truth[:, None], ("x",), None, np.full((PLENTY, 1), ERROR))
    return {metric: value for (_, metric), value in Agreement(cases, EvalOptions(0)).values.items()}


def values(rng: np.random.Generator, replicates: int, patients: int, images: int) -> Results:
    """Judge the metrics of a quantity."""
    truth, predicted, patient_N = draw_values(rng, patients, images)
    sd = np.full((len(truth), 1), ERROR)
    cases = Measurements(predicted[:, None], truth[:, None], ("x",), patient_N.tolist(), sd)
    entries = evaluate_values(cases, EvalOptions(replicates))["metrics"]
    drawn = Agreement(cases, EvalOptions(replicates)).replicates
    known = true_values()
    return {
        metric: from_entry(known[metric], entries[metric], plain=percentile_interval(drawn["x", metric]))
        for metric in JUDGED
    }


def draw_grades(rng: np.random.Generator, patients: int, images: int) -> tuple[Cases, Array]:
    """Draw cases of grades: two quantities that are cut at the same places."""
    truth, predicted, patient_N = draw_values(rng, patients, images)
    cuts = np.array([-1.0, -0.3, 0.4, 1.2])
    grade_N, decided_N = (np.searchsorted(cuts, side) for side in (truth, predicted))
    eye = np.eye(GRADES)
    probs = 0.6 * eye[decided_N] + 0.4 / GRADES
    names = [str(grade) for grade in range(GRADES)]
    return Cases(probs, eye[grade_N], eye[decided_N] > 0, names, patient_N.tolist()), patient_N


@lru_cache
def true_grades() -> dict[str, float]:
    """Read the truths from very many patients of one image each."""
    cases, _ = draw_grades(np.random.default_rng(2), PLENTY, 1)
    whole = OrderedSheet(cases.probs_NC, cases.target_NC, cases.predicted_NC, cases.classes).values()[0]
    return {metric: whole[None, metric] for metric in OF_GRADES}


def grades(rng: np.random.Generator, replicates: int, patients: int, images: int) -> Results:
    """Judge the metrics of grades that know their order."""
    cases, _ = draw_grades(rng, patients, images)
    entries = evaluate(cases, OrderedSheet, EvalOptions(replicates))["metrics"]
    known = true_grades()
    return {metric: from_entry(known[metric], entries[metric]) for metric in OF_GRADES}


Judge = Callable[[np.random.Generator, int], Results]
VALUES: dict[str, tuple[Judge, float]] = {
    "30 patients, a quantity": (lambda rng, r: values(rng, r, 30, 1), 1),
    "60 patients of 4 images, a quantity": (lambda rng, r: values(rng, r, 60, 4), 0.4),
    "50 patients, grades": (lambda rng, r: grades(rng, r, 50, 1), 0.4),
    "60 patients of 4 images, grades": (lambda rng, r: grades(rng, r, 60, 4), 0.2),
}
