"""Simulated studies of masks: overlaps and distances of known means, patients of several cases, missed lesions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from coverage_results import Array, Result, from_entry
from scipy.special import expit, ndtri

from medtrain.metric import EvalOptions
from medtrain.metric.mask_overlap import MEASURED, evaluate_masks

VOXELS = 10_000.0  # of either mask
CENTRE, SPREAD = 2.0, 0.8  # of the logit of Dice, over cases; 0.7 of its variance is the patient's
FOUND, RIGHT = 0.8, 0.9  # of lesions, and of what is called
MEAN_MM = 3.0  # of HD95


def masks(rng: np.random.Generator, replicates: int, patients: int, images: int) -> dict[str, Result]:
    """Judge the metrics of masks of one class."""
    patient_N = np.repeat(np.arange(patients), images)
    z_N = np.sqrt(0.7) * rng.normal(size=patients)[patient_N] + np.sqrt(0.3) * rng.normal(size=len(patient_N))
    measured = np.zeros((len(patient_N), len(MEASURED)))
    columns: dict[str, Array] = dict.fromkeys(("predicted", "true"), np.full(len(patient_N), VOXELS))
    columns |= {"both": VOXELS * expit(CENTRE + SPREAD * z_N), "nsd": expit(CENTRE - SPREAD * z_N)}
    columns["hd95"] = MEAN_MM * np.exp(0.5 * z_N - 0.125)
    lesions = rng.integers(1, 4, len(patient_N))
    found = rng.binomial(lesions, FOUND)
    called = found + rng.binomial(found, (1 - RIGHT) / RIGHT)
    columns |= {"lesions": lesions, "lesions_found": found, "called": called, "called_right": found}
    for name, values in columns.items():
        measured[:, MEASURED.index(name)] = values
    options = EvalOptions(replicates, seed=int(rng.integers(2**31)))
    metrics = evaluate_masks(measured[:, None], ["lesion"], [f"p{n}" for n in patient_N], options)["metrics"]
    overlap = float(expit(CENTRE + SPREAD * ndtri((np.arange(100_000) + 0.5) / 100_000)).mean())
    precision = 1 / (1 + (1 - RIGHT) / RIGHT)
    truth = {
        "dice": overlap,
        "nsd": overlap,
        "hd95": MEAN_MM,
        "lesion_sensitivity": FOUND,
        "lesion_precision": precision,
    }
    return {name: from_entry(true, metrics[name]) for name, true in truth.items()}


MASKS: dict[str, tuple[Callable[[np.random.Generator, int], dict[str, Result]], float]] = {
    "30 patients of 2 volumes, masks": (lambda rng, r: masks(rng, r, 30, 2), 1),
    "15 patients, masks": (lambda rng, r: masks(rng, r, 15, 1), 1),
}
