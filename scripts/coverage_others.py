"""Simulated studies of what is beyond the metrics of classes: boxes, tiles, curves, sets, groups, folds, two models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from coverage_classes import PLENTY, Setting, draw
from coverage_results import ENOUGH, Array, Result, from_entry, from_form, korn_graubard
from coverage_times import times
from scipy.special import expit, logit, ndtr, ndtri

from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.metric import Cases, EvalOptions, PositiveSheet, evaluate, evaluate_boxes, percentile_interval
from medtrain.metric.analysis import SetLimits, Study
from medtrain.metric.classification import predictive
from medtrain.metric.conformal import prediction_sets
from medtrain.metric.operating import operating_points
from medtrain.metric.paired import paired_differences
from medtrain.metric.share import rate_form, share_forms
from medtrain.metric.smooth import calibration_curve
from medtrain.metric.subgroups import group_differences
from medtrain.metric.tiles import tile_auroc
from medtrain.metric.utility import decision_curve
from medtrain.metric.within import within_folds

Results = dict[str, Result]
POSITIVE = "class 1"
PREVALENCE, TREATED, SET_FROM = 0.03, 0.2, 0.25  # elsewhere; at a risk of; probability from which a class is in a set


def counts(rng: np.random.Generator, patients: int, images: int, missed: float, alarms: float) -> Results:
    """Judge counts as detection has them: lesions found, and false positives on images without lesions."""
    lesions_P = rng.integers(1, 5, size=patients).astype(float)
    own_P = rng.beta(missed, 1 - missed, size=patients)  # of each patient's lesions, alike by a half
    found_P = lesions_P - rng.binomial(lesions_P.astype(int), own_P)
    values, forms = share_forms(found_P[None], lesions_P[None])
    images_P = np.full(patients, float(images))
    events_P = rng.poisson(alarms * images_P * rng.gamma(2, 0.5, size=patients))
    rate = float(events_P.sum() / images_P.sum())
    weights_RP = rng.multinomial(patients, np.full(patients, 1 / patients), size=400)
    pairs = (found_P, lesions_P), (events_P, images_P)
    plain = [percentile_interval(weights_RP @ above / (weights_RP @ below)) for above, below in pairs]
    others: dict[str, Any] = {"reference": korn_graubard(found_P, lesions_P), "plain": plain[0]}
    return {
        "sensitivity of boxes": from_form(1 - missed, float(values[0]), forms[0], **others),
        "false positives an image": from_form(alarms, rate, rate_form(events_P, images_P), plain=plain[1]),
    }


SIDE, APART = 20.0, 100.0  # of a lesion, and between lesions, in pixels


def draw_boxes(rng: np.random.Generator, patients: int, images: int) -> tuple[Truth, PredictedBoxes, Array]:
    """Draw boxes and predictions: 0 to 3 lesions an image, harder in some patients, 1 false positive an image."""
    n = patients * images
    patient_I = np.repeat(np.arange(patients), images)
    case_M = np.repeat(np.arange(n), rng.integers(0, 4, size=n))
    place_M = np.concatenate([np.arange(k) for k in np.bincount(case_M, minlength=n)])
    corner_M2 = np.stack([place_M * APART, np.zeros(len(place_M))], axis=1)
    boxes_M4 = np.concatenate([corner_M2, corner_M2 + SIDE], axis=1)
    own_P = rng.normal(size=patients)
    ease_M = (own_P[patient_I[case_M]] + rng.normal(size=len(case_M))) / np.sqrt(2)
    seen_M = ease_M > -1
    off_M2 = rng.normal(size=(len(case_M), 2)) * 2
    false_image = np.repeat(np.arange(n), rng.poisson(rng.gamma(2, 0.5, size=patients)[patient_I]))
    false_corner = np.stack([rng.uniform(400, 900, len(false_image)), rng.uniform(400, 900, len(false_image))], axis=1)
    found = boxes_M4[seen_M] + np.tile(off_M2[seen_M], 2)
    predicted = PredictedBoxes(
        np.concatenate([found, np.concatenate([false_corner, false_corner + SIDE], axis=1)]),
        np.concatenate([expit(ease_M[seen_M] + 0.5), expit(rng.normal(size=len(false_image)) - 1)]),
        np.zeros(len(found) + len(false_image), np.int64),
        np.concatenate([case_M[seen_M], false_image]),
    )
    m = len(case_M)
    size_N2 = np.full((n, 2), 1000)
    ids = np.arange(1, n + 1), np.arange(1, m + 1)
    truth = Truth(
        boxes_M4, np.zeros(m, np.int64), case_M, np.zeros(m, bool), np.full(m, SIDE**2), ids[1], size_N2, ids[0]
    )
    return truth, predicted, patient_I


@lru_cache
def true_detection() -> dict[str, float]:
    """Read the truth of detection's metrics from many patients."""
    truth, predicted, patient_I = draw_boxes(np.random.default_rng(1), PLENTY // 100, 3)
    metrics = evaluate_boxes(truth, predicted, ["lesion"], {"lesion": 0.5}, patient_I.tolist(), EvalOptions(0))[
        "metrics"
    ]
    return {name: entry["value"] for name, entry in metrics.items() if entry["value"] is not None}


def detection(rng: np.random.Generator, replicates: int, patients: int) -> Results:
    """Judge a detector by mAP, CPM, FROC, and at its threshold."""
    truth, predicted, patient_I = draw_boxes(rng, patients, 3)
    options = EvalOptions(replicates, seed=int(rng.integers(2**31)))
    metrics = evaluate_boxes(truth, predicted, ["lesion"], {"lesion": 0.5}, patient_I.tolist(), options)["metrics"]
    return {name: from_entry(true, metrics[name]) for name, true in true_detection().items()}


def tiles(rng: np.random.Generator, replicates: int, patients: int, centre: float) -> Results:
    """Judge attention by the AUROC of tiles within slides, one or two a patient, that differ in how good it is.

    Args:
        centre: of the slides' true AUROCs, on the normal scale.
    """
    patient = np.repeat(np.arange(patients), rng.integers(1, 3, size=patients))
    far_S = np.sqrt(2) * (centre + 0.4 * rng.normal(size=patients)[patient] + 0.3 * rng.normal(size=len(patient)))
    marks = [(rng.random(60) < 0.3).astype(float) for _ in patient]
    relevance = [rng.normal(size=60) + far * mark for far, mark in zip(far_S, marks, strict=True)]
    plenty = np.random.default_rng(1).normal(size=PLENTY) * 0.5 + centre  # both spreads together
    entry = tile_auroc(relevance, marks, [str(p) for p in patient], replicates)
    return {"tile AUROC": from_entry(float(ndtr(plenty).mean()), entry)}


def _results_of(cases: Cases, options: EvalOptions) -> dict[str, dict[str, Any]]:
    """Compute every entry with an interval that is beyond the metrics of the sheet, by name."""
    own = cases.probs_NC[:, 1]
    study = Study(
        cases,
        PositiveSheet,
        options,
        {POSITIVE: TREATED},
        [POSITIVE],
        {},
        SetLimits(dict.fromkeys(cases.classes, SET_FROM)),
    )
    decided = decision_curve(study)["utility"][POSITIVE]["decision"]
    sets = prediction_sets(study)["prediction_sets"]
    smooth = calibration_curve(study)["metrics"]
    there = evaluate(cases, PositiveSheet, options)["prevalence"]["metrics"]
    points = operating_points(own, cases.target_NC[:, 1], cases.patients, np.array([0.5]))
    entries = {f"net benefit: {name}": decided[name] for name in ("model", "all", "gain")}
    entries |= {f"set of {name}": entry for name, entry in sets["coverage"].items()} | {"size of a set": sets["size"]}
    entries |= {name.upper(): entry for name, entry in smooth.items()}
    entries |= {f"{name} at 3 %": there[name] for name in ("ppv", "npv")}
    for name in ("even_ppv", "even_npv"):
        value, limits = points.rate(name)
        entries[name] = {"value": float(value[0]), "ci95": None if np.isnan(limits).any() else limits[0].tolist()}
    return entries


@lru_cache
def true_analyses(setting: Setting) -> dict[str, float]:
    """Read the truth of what `analyses` judges from plenty of cases."""
    plenty = replace(setting, patients=PLENTY, images=1)
    cases = draw(plenty, np.random.default_rng(1))[1]
    own, sick = cases.probs_NC[:, 1], cases.target_NC[:, 1] > 0.5
    price, treated = TREATED / (1 - TREATED), own >= TREATED
    model = float((treated & sick).mean() - price * (treated & ~sick).mean())
    everyone = float(sick.mean() - price * (~sick).mean())
    distance = np.abs(expit(logit(own) / setting.stretch) - own)
    inside = cases.probs_NC >= SET_FROM
    called = cases.predicted_NC[:, 1]
    rates = float(called[sick].mean()), float((~called)[~sick].mean())
    half = float((own >= 0.5)[sick].mean()), float((own < 0.5)[~sick].mean())
    there, even = predictive(*rates, PREVALENCE), predictive(*half, 0.5)
    return {
        "net benefit: model": model,
        "net benefit: all": everyone,
        "net benefit: gain": model - max(0.0, everyone),
        "set of class 0": float(inside[~sick, 0].mean()),
        "set of class 1": float(inside[sick, 1].mean()),
        "size of a set": float(inside.sum(axis=1).mean()),
        "ICI": float(distance.mean()),
        "E50": float(np.quantile(distance, 0.5)),
        "E90": float(np.quantile(distance, 0.9)),
        "ppv at 3 %": float(there[0]),
        "npv at 3 %": float(there[1]),
        "even_ppv": float(even[0]),
        "even_npv": float(even[1]),
    }


def analyses(rng: np.random.Generator, replicates: int, setting: Setting) -> Results:
    """Judge net benefit, prediction sets, the calibration curve's errors, and rates at another prevalence."""
    cases = draw(setting, rng)[1]
    sick = len(np.unique(np.array(cases.patients)[cases.target_NC[:, 1] > 0.5]))
    options = EvalOptions(replicates, prevalence=PREVALENCE, seed=int(rng.integers(2**31)))
    entries, enough = _results_of(cases, options), min(sick, setting.patients - sick) >= ENOUGH
    return {name: from_entry(true, entries[name], enough) for name, true in true_analyses(setting).items()}


def diagrams(rng: np.random.Generator, replicates: int, setting: Setting) -> Results:
    """Judge the bins of the reliability diagram: the share that is positive against the true one of these cases."""
    cases = draw(setting, rng)[1]
    rows = evaluate(cases, PositiveSheet, EvalOptions(replicates))["calibration"]["bins"][POSITIVE]
    own = np.sort(cases.probs_NC[:, 1])
    true_N, last, results = expit(logit(own) / setting.stretch), 0, {}
    for place, row in enumerate(rows):
        true = float(true_N[last : last + row["n"]].mean())
        last += row["n"]
        if place in (0, len(rows) // 2, len(rows) - 1):
            which = {0: "lowest", len(rows) - 1: "highest"}.get(place, "middle")
            results[f"{which} bin"] = from_entry(true, {"value": row["observed"], "ci95": row["ci95"]})
    return results


def groups(rng: np.random.Generator, replicates: int, setting: Setting) -> Results:
    """Judge differences between two groups that don't differ, of a third and two thirds of the patients."""
    cases = draw(setting, rng)[1]
    of_case = [("b", "a", "a")[patient % 3] for patient in cases.patients or []]
    options = EvalOptions(replicates, groups={"group": of_case}, seed=int(rng.integers(2**31)))
    results = evaluate(cases, PositiveSheet, options)
    rows = group_differences(Study(cases, PositiveSheet, options, {}, [POSITIVE], results))["group_differences"] or []
    return {f"difference of groups: {row['metric']}": from_entry(0.0, row) for row in rows}


def folds(rng: np.random.Generator, replicates: int, setting: Setting) -> Results:
    """Judge the AUROC within folds whose networks mean different things by 0.7."""
    cases = draw(setting, rng)[1]
    fold_N = np.array(cases.patients) % 5
    offset_N = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])[fold_N]
    own = expit(logit(cases.probs_NC[:, 1].clip(1e-9, 1 - 1e-9)) + offset_N)
    pooled = replace(cases, probs_NC=np.stack([1 - own, own], axis=1))
    parts = [pooled.select(fold_N == fold) for fold in range(5)]
    options = EvalOptions(replicates, seed=int(rng.integers(2**31)))
    within = within_folds(parts, pooled, [1], options)
    true = setting.auroc, _pooled_auroc(setting) - setting.auroc
    entries = within["auroc"], within["pooled_minus_within"]
    return {
        name: from_entry(*pair)
        for name, *pair in zip(("AUROC within folds", "pooled less within"), true, entries, strict=True)
    }


@lru_cache
def _pooled_auroc(setting: Setting) -> float:
    """Compute the AUROC of folds that are pooled, offsets of -2 to 2 in the logit."""
    far = float(ndtri(setting.auroc)) * np.sqrt(2)
    steps = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) / (setting.stretch * far)
    return float(np.mean(ndtr((far + steps[:, None] - steps) / np.sqrt(2))))


def paired(rng: np.random.Generator, replicates: int, setting: Setting) -> Results:
    """Judge differences between two models of the same patients, one of which sees less well."""
    cases = draw(setting, rng)[1]
    other = _noisier(cases, setting, rng)
    rows = paired_differences(cases, other, PositiveSheet, replicates, int(rng.integers(2**31)))["metrics"]
    return {
        f"difference of models: {name}": from_entry(true, rows[name]) for name, true in _true_paired(setting).items()
    }


NOISE = 0.7


def _noisier(cases: Cases, setting: Setting, rng: np.random.Generator) -> Cases:
    """Give the cases to a model that sees them with noise."""
    own = logit(cases.probs_NC[:, 1].clip(1e-12, 1 - 1e-12))
    far = float(ndtri(setting.auroc)) * np.sqrt(2) * setting.stretch
    own = expit(own + far * NOISE * rng.normal(size=len(own)))
    called = own >= 0.5
    return replace(cases, probs_NC=np.stack([1 - own, own], 1), predicted_NC=np.stack([~called, called], 1))


@lru_cache
def _true_paired(setting: Setting) -> dict[str, float]:
    rng = np.random.default_rng(1)
    cases = draw(replace(setting, patients=PLENTY, images=1), rng)[1]
    one, other = (
        evaluate(side, PositiveSheet, EvalOptions(0))["metrics"] for side in (cases, _noisier(cases, setting, rng))
    )
    return {name: other[name]["value"] - one[name]["value"] for name in ("auroc", "sensitivity", "brier", "mcc")}


BASE = Setting("", 150, auroc=0.85, prevalence=0.3)
EXTREME = replace(BASE, patients=200, stretch=2.0)
CLUSTERED = replace(BASE, patients=60, images=4, alike=0.8, auroc=0.8, prevalence=0.4)
Judge = Callable[[np.random.Generator, int], Results]
OTHERS: dict[str, tuple[Judge, float]] = {  # and what share of the studies of others is enough
    "40 patients, boxes, few missed": (lambda rng, _: counts(rng, 40, 3, 0.03, 0.03), 1),
    "20 patients, boxes": (lambda rng, _: counts(rng, 20, 3, 0.15, 0.3), 1),
    "40 patients of 3 images, detection": (lambda rng, r: detection(rng, r, 40), 0.3),
    "20 patients, tiles": (lambda rng, r: tiles(rng, r, 20, 0.8), 1),
    "20 patients, tiles, AUROC 0.97": (lambda rng, r: tiles(rng, r, 20, 2.0), 1),
    "150 patients, calibrated": (lambda rng, r: analyses(rng, r, BASE), 0.4),
    "200 patients, too extreme": (lambda rng, r: analyses(rng, r, EXTREME), 0.4),
    "60 patients of 4 images": (lambda rng, r: groups(rng, r, CLUSTERED) | folds(rng, r, CLUSTERED), 0.4),
    "150 patients, two models": (lambda rng, r: paired(rng, r, BASE), 0.4),
    "200 patients, too extreme, bins": (lambda rng, r: diagrams(rng, r, EXTREME), 0.4),
    "100 patients, times": (lambda rng, _: times(rng, 100, 1, 1.0, 60), 1),
    "60 patients of 3 cases, times": (lambda rng, _: times(rng, 60, 3, 1.0, 60), 1),
    "80 patients, times, few events": (lambda rng, _: times(rng, 80, 1, 1.0, 12), 1),
}
