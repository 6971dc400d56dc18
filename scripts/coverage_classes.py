"""Simulated studies of classes whose truth is known, and what intervals say of each.

A patient is sick or not; the score of an image is the patient's own value, drawn once, and a deviation of the image,
`alike` being the share of the first in the variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from coverage_results import ENOUGH, Array, Result, Span, from_form, korn_graubard
from scipy.special import expit, logit, ndtri, softmax

from medtrain.metric import Cases, ExclusiveSheet, LabelsSheet, PositiveSheet, Sheet, percentile_interval
from medtrain.metric.area import obuchowski, placements
from medtrain.metric.classification import Measured
from medtrain.metric.interval import Form
from medtrain.metric.sheet import SHARES

PLENTY = 400_000  # cases that the truth is read from


@dataclass(frozen=True)
class Setting:
    """Studies of one kind.

    Args:
        patients, images: how many, and of each patient.
        auroc: of the patients' scores.
        prevalence: chance of a patient to be sick.
        sick: so many are, exactly; 0: by chance.
        alike: share of the variance that the images of a patient have in common.
        stretch: logits are too large by this factor: 1 is a calibrated model.
        labels: more than one of several labels, each as rare; 0: two classes; below 0: so many classes.
        cut: the decision's threshold, as a distance from the middle between sick and well.
    """

    name: str
    patients: int
    images: int = 1
    auroc: float = 0.8
    prevalence: float = 0.5
    sick: int = 0
    alike: float = 0.0
    stretch: float = 1.0
    labels: int = 0
    cut: float = 0.0


SETTINGS = (
    Setting("3 sick of 100, AUROC 0.76", 100, auroc=0.76, prevalence=0.03, sick=3),
    Setting("3 sick of 300, AUROC 0.98", 300, auroc=0.98, prevalence=0.01, sick=3),
    Setting("20 patients, AUROC 0.983", 20, auroc=0.983),
    Setting("40 patients, AUROC 0.995", 40, auroc=0.995),
    Setting("10 patients, AUROC 0.76", 10, auroc=0.76),
    Setting("60 patients, AUROC 0.76", 60, auroc=0.76),
    Setting("200 patients, 10 % sick, AUROC 0.9", 200, auroc=0.9, prevalence=0.1),
    Setting("60 patients of 8 images", 60, 8, auroc=0.737, alike=0.8),
    Setting("30 patients of 8 images", 30, 8, auroc=0.737, alike=0.8),
    Setting("10 patients of 8 images", 10, 8, auroc=0.76, alike=0.8),
    Setting("20 patients of 8 images, sensitivity 0.95", 20, 8, auroc=0.99, alike=0.8),
    Setting("40 patients of 8 unlike images", 40, 8, auroc=0.85),
    Setting("200 patients, overconfident", 200, auroc=0.85, prevalence=0.3, stretch=2.0),
    Setting("150 patients, 4 labels of 6 %", 150, auroc=0.9, prevalence=0.06, labels=4),
    Setting("60 patients of 2 images, 3 classes", 60, 2, auroc=0.97, alike=0.8, labels=-3),
)


def draw(setting: Setting, rng: np.random.Generator) -> tuple[type[Sheet], Cases]:
    """Draw the cases of one study."""
    classes = max(1, abs(setting.labels))
    while True:
        chance = rng.random((setting.patients, classes))
        truth_PC = chance < setting.prevalence
        if setting.sick:
            truth_PC = np.arange(setting.patients)[:, None] < np.full((1, classes), setting.sick)
        if setting.labels < 0:
            truth_PC = np.eye(classes, dtype=bool)[rng.integers(classes, size=setting.patients)]
        if (truth_PC.any(axis=0) & ~truth_PC.all(axis=0)).all():
            break
    shape = (setting.patients, classes)
    n, far = setting.images, float(ndtri(setting.auroc)) * np.sqrt(2)
    own = np.repeat(rng.normal(size=shape) * np.sqrt(setting.alike), n, axis=0)
    score = own + rng.normal(size=own.shape) * np.sqrt(1 - setting.alike) + far * np.repeat(truth_PC, n, axis=0)
    target = np.repeat(truth_PC, n, axis=0).astype(float)
    patients = np.repeat(np.arange(setting.patients), n).tolist()
    names = [f"class {c}" for c in range(max(2, classes))]
    if setting.labels < 0:
        probs = softmax(setting.stretch * far * score, axis=1)
        return ExclusiveSheet, Cases(probs, target, np.eye(classes)[probs.argmax(1)] > 0, names, patients)
    prior = setting.sick / setting.patients if setting.sick else setting.prevalence
    probs = expit(setting.stretch * (far * score - far**2 / 2 + logit(prior)))
    chosen = score > far / 2 + setting.cut
    if setting.labels:
        return LabelsSheet, Cases(probs, target, chosen, names, patients)
    two = [np.concatenate([1 - array, array], axis=1) for array in (probs, target, chosen)]
    return PositiveSheet, Cases(two[0], two[1], two[2] > 0, names, patients)


@lru_cache(maxsize=1)
def truths(setting: Setting) -> tuple[dict[str, float], Array, Array]:
    """Read the truth of each metric from plenty of cases; and their probabilities, ascending, with summed residuals."""
    plenty = Setting(**{**vars(setting), "patients": PLENTY // max(1, abs(setting.labels)), "images": 1, "sick": 0})
    if setting.sick:
        plenty = Setting(**{**vars(plenty), "prevalence": setting.sick / setting.patients})
    sheet, cases = draw(plenty, np.random.default_rng(1))
    measured = Measured(cases, sheet, 0, 0)
    values = {metric: value for (name, metric), value in measured.values.items() if name is None}
    if setting.labels >= 0:
        values["auroc"] = setting.auroc
    order = np.argsort(cases.probs_NC[:, -1])
    probs = cases.probs_NC[order, -1]
    residual = cases.target_NC[order, -1] - probs if setting.stretch != 1 else np.zeros(len(probs))
    return values, probs, np.concatenate([[0.0], np.cumsum(residual)])


def true_error(setting: Setting, measured: Measured) -> float:
    """Compute the calibration error, in plenty of cases, of the bins of a study."""
    _, probs, summed = truths(setting)
    bins = measured.sheet.columns[-1].reliability
    firsts = [bins.probs_N[bins.bin_N == b].min() for b in np.unique(bins.bin_N)[1:]]
    cuts = np.concatenate([[0], np.searchsorted(probs, firsts), [len(probs)]])
    return float(np.abs(np.diff(summed[cuts])).sum() / len(probs))


def study(setting: Setting, rng: np.random.Generator, replicates: int) -> dict[str, Result]:
    """Judge one study: the result of each metric of the whole."""
    sheet, cases = draw(setting, rng)
    measured = Measured(cases, sheet, replicates, int(rng.integers(2**31)))
    true = truths(setting)[0]
    behind = [pool.behind for name, pool in measured.forms.pools.items() if name in measured.sheet.averaged]
    enough = min(min(pair) for pair in behind) >= ENOUGH
    results: dict[str, Result] = {}
    for (name, metric), value in measured.values.items():
        if name is None and metric != "ece":
            values_R = measured.replicates[name, metric]
            others = {"reference": reference(measured, metric), "plain": percentile_interval(values_R)}
            form = measured.forms.of((name, metric))
            results[metric] = from_form(true[metric], value, form, values_R, enough=enough, **others)
    if measured.sheet.whole_class is not None:
        error = measured.forms.calibration(measured.sheet.whole_class)
        form = Form(error.limits, (measured.n_patients,))
        results["ece_debiased"] = from_form(true_error(setting, measured), error.value, form, enough=enough)
    return results


def reference(measured: Measured, metric: str) -> Span:
    """Compute the interval that others would give the positive class; None where there is none."""
    if measured.sheet.whole_class is None:
        return None
    pool = measured.forms.pools[measured.sheet.whole_class]
    if metric == "auroc":
        area = measured.values[None, metric]
        placed = placements(pool.probs_M, pool.positive_M)
        variance = obuchowski(placed, pool.positive_M, pool.patient_M, pool.n_patients)[0]
        if not 0 < area < 1 or not np.isfinite(variance):
            return None
        half = 1.96 * np.sqrt(variance) / (area * (1 - area))
        return float(expit(logit(area) - half)), float(expit(logit(area) + half))
    if metric not in SHARES or metric == "f1":
        return None
    hits_P, cases_P = (pool.counts_4P[list(cells)].sum(axis=0) for cells in SHARES[metric])
    return korn_graubard(hits_P, cases_P)
