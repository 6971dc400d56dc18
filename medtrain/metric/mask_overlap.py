"""What a mask is worth, case by case and class by class: overlap, distance of surfaces, volume, lesions.

Both masks empty: nothing to measure, left out and counted. One of them empty: Dice and IoU are 0, distances of surfaces
have no value, and both are counted. NSD: Nikolov et al., J. Med. Internet Res. 2021, the share of the area of both
surfaces that lies near the other, by DeepMind's package; MONAI calls it surface Dice with subvoxels. For the Hausdorff
distance a surface is the voxels of a mask with a neighbour (of six) outside it; the 95th percentile of distances is
taken each way, and the larger one counts, as MONAI has it. Lesions are components of 26 neighbours; one is found if a
voxel of it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from medtrain.metric.bootstrap import Array, patient_index, replicate
from medtrain.metric.groups import by_group
from medtrain.metric.interval import Form, real, spread, within, write
from medtrain.metric.options import EvalOptions
from medtrain.metric.paired import Drawn
from medtrain.metric.share import share_forms

Mask = NDArray[np.bool_]

MEASURED = (
    "both", "predicted", "true", "nsd", "hd95", "volume_ml", "true_volume_ml",
    "lesions", "lesions_found", "called", "called_right",
)  # fmt: skip
"""What is measured of a case and a class, in the order of `measure`: the first three are voxels."""
COUNTED = {"lesion_sensitivity": ("lesions_found", "lesions"), "lesion_precision": ("called_right", "called")}
SHARES = ("dice", "iou", "nsd", "lesion_sensitivity", "lesion_precision", "lesion_f1")
LENGTHS = ("hd95",)  # mm
METRICS = (*SHARES, *LENGTHS, "volume_difference_ml")
LESIONS = MEASURED.index("lesions")  # from which on lesions are counted
Key = tuple[str | None, str]  # class, None for the mean over classes; metric
_AROUND = np.ones((3, 3, 3), bool)


def measure(predicted: Mask, true: Mask, spacing: Sequence[float], tolerance: float) -> NDArray[np.float64]:
    """Measure one class of one case: `MEASURED`, NaN where there is no value.

    Args:
        predicted, true: (D, H, W) on the image's own voxels.
        spacing: mm a voxel along D, H, W.
        tolerance: mm by which surfaces may differ and count as the same in `nsd`.
    """
    voxel_ml = float(np.prod(spacing)) / 1000
    sizes = [int((predicted & true).sum()), int(predicted.sum()), int(true.sum())]
    nsd, hd95 = surfaces(predicted, true, spacing, tolerance) if sizes[1] and sizes[2] else (np.nan, np.nan)
    lesions = [*pieces_of(true, predicted), *pieces_of(predicted, true)]
    return np.array([*sizes, nsd, hd95, sizes[1] * voxel_ml, sizes[2] * voxel_ml, *lesions], np.float64)


def pieces_of(mask: Mask, other: Mask) -> tuple[int, int]:
    """Count the components of a mask, and those that another mask touches."""
    number, count = scipy.ndimage.label(mask, _AROUND)
    return count, len(np.unique(number[mask & other]))


def surfaces(predicted: Mask, true: Mask, spacing: Sequence[float], tolerance: float) -> tuple[float, float]:
    """Compute the normalised surface distance and the 95th percentile of the Hausdorff distance in mm.

    Args:
        predicted, true: (D, H, W), neither of them empty.
    """
    import surface_distance  # late: only masks need it

    places = np.argwhere(predicted | true)
    box = tuple(slice(max(0, low - 1), high + 2) for low, high in zip(places.min(0), places.max(0), strict=True))
    ours, theirs = (np.pad(mask[box], 1) for mask in (predicted, true))
    areas = surface_distance.compute_surface_distances(theirs, ours, spacing)
    nsd = surface_distance.compute_surface_dice_at_tolerance(areas, tolerance)
    edges = [mask & ~scipy.ndimage.binary_erosion(mask) for mask in (ours, theirs)]
    away = [scipy.ndimage.distance_transform_edt(~edge, spacing) for edge in edges]
    to_true, to_predicted = away[1][edges[0]], away[0][edges[1]]
    return float(nsd), float(max(np.percentile(to_true, 95), np.percentile(to_predicted, 95)))


def values_of(measured_NM: Array) -> dict[str, Array]:
    """Compute the metrics of each of N cases of one class from what was measured, NaN where there is none."""
    m = dict(zip(MEASURED, measured_NM.T, strict=True))
    both, sum_ = m["both"], m["predicted"] + m["true"]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "dice": np.where(sum_ > 0, 2 * both / sum_, np.nan),
            "iou": np.where(sum_ > 0, both / (sum_ - both), np.nan),
            "nsd": m["nsd"],
            "hd95": m["hd95"],
            "volume_difference_ml": np.where(sum_ > 0, m["volume_ml"] - m["true_volume_ml"], np.nan),
        }


def evaluate_masks(
    measured_NCM: Array, classes: Sequence[str], patients: Sequence[str], options: EvalOptions
) -> dict[str, Any]:
    """Compute the metrics of a set: means over cases, of the whole the mean over classes, with intervals over patients.

    Args:
        measured_NCM: as of `measure`, of N cases and C classes.
        patients: of each case.
        options: replicates of the intervals, and groups of the N cases.

    Returns:
        ``metrics``, ``per_class``, by class the ``counts`` of cases whose masks are empty, and ``groups``.
    """

    def group(in_N: Array) -> dict[str, Any]:
        own = [patient for patient, inside in zip(patients, in_N, strict=True) if inside]
        counts = {"n_cases": len(own), "n_patients": len(set(own))}
        return counts | _judged(measured_NCM[in_N], classes, own, options)

    judged = _judged(measured_NCM, classes, patients, options)
    return judged | {"groups": by_group(options.groups, group)}


def draw_masks(measured_NCM: Array, classes: Sequence[str], patients: Sequence[str], options: EvalOptions) -> Drawn:
    """Compute all metrics of a set and their replicates, {(class or None, metric)}; arguments as `evaluate_masks`."""
    of_class = {name: values_of(measured_NCM[:, c]) for c, name in enumerate(classes)}
    lesions = {name: measured_NCM[:, c, LESIONS:] for c, name in enumerate(classes)}

    def statistics(weights_RN: Array) -> dict[Key, Array]:
        made: dict[Key, Array] = {}
        for name in classes:
            one = {metric: _mean(weights_RN, values) for metric, values in of_class[name].items()}
            one |= _of_lesions(weights_RN @ lesions[name])
            made |= {(name, metric): one[metric] for metric in METRICS}
        means = {(None, metric): _over_classes([made[name, metric] for name in classes]) for metric in METRICS}
        return means | made

    number = len(measured_NCM)
    values = {key: float(v[0]) for key, v in statistics(np.ones((1, number))).items()}
    drawn = replicate(statistics, patients, number, options.bootstrap, options.seed)
    return Drawn(values, drawn, patient_index(patients, number)[1])


def _judged(
    measured_NCM: Array, classes: Sequence[str], patients: Sequence[str], options: EvalOptions
) -> dict[str, Any]:
    drawn = draw_masks(measured_NCM, classes, patients, options)
    behind: dict[Key, int] = {}
    for c, name in enumerate(classes):
        known = _known(values_of(measured_NCM[:, c])) | _with_lesions(measured_NCM[:, c, LESIONS:])
        behind |= {(name, m): len(set(np.asarray(patients, object)[known_N])) for m, known_N in known.items()}

    def entry(key: Key) -> dict[str, Any]:
        value, values_R = drawn.values[key], drawn.replicates.get(key)
        if values_R is None or not np.isfinite(value):
            return write(value, None)
        if key[1] in COUNTED and (len(classes) == 1 or key[0] is not None):
            return write(value, _share_of(measured_NCM[:, list(classes).index(key[0] or classes[0])], patients, key[1]))
        # of a mean over classes the one that rests on the fewest says how much is known
        fewest = min(behind[name, key[1]] for name in classes if key[0] in (None, name) and behind[name, key[1]])
        return write(value, _form(key[1], value, values_R, fewest), values_R)

    return {
        "metrics": {metric: entry((None, metric)) for metric in METRICS},
        "per_class": {name: {metric: entry((name, metric)) for metric in METRICS} for name in classes},
        "counts": {name: _counts(measured_NCM[:, c]) for c, name in enumerate(classes)},
    }


def _share_of(measured_NM: Array, patients: Sequence[str], metric: str) -> Form:
    """Make the limits of a share of lesions, whose counts by patient say how sure it is."""
    patient_N, number = patient_index(patients, len(measured_NM))
    hits, cases = (np.bincount(patient_N, measured_NM[:, MEASURED.index(name)], number) for name in COUNTED[metric])
    return share_forms(hits[None], cases[None])[1][0]


def _known(values: Mapping[str, Array]) -> dict[str, Array]:
    """Tell of each metric which cases have a value."""
    return {metric: np.isfinite(values_N) for metric, values_N in values.items()}


def _with_lesions(counts_N4: Array) -> dict[str, Array]:
    """Tell of each lesion-wise metric which cases count in it: those with lesions, with called ones, with either."""
    true, called = counts_N4[:, 0] > 0, counts_N4[:, 2] > 0
    return {"lesion_sensitivity": true, "lesion_precision": called, "lesion_f1": true | called}


def _form(metric: str, value: float, values_R: Array, patients: int) -> Form:
    """Make the limits of a metric that so many patients have a value of."""
    variance = spread(values_R, patients)
    if metric in SHARES:
        return Form(within(value, variance, patients), (patients,))
    low, high = real(value, variance, patients)
    if metric in LENGTHS:  # none is below 0
        return Form((max(0.0, low), high), (patients,), (0.0, np.inf))
    return Form((low, high), (patients,), (-np.inf, np.inf))


def _mean(weights_RN: Array, values_N: Array) -> Array:
    known = np.isfinite(values_N)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(weights_RN[:, known] @ values_N[known] / weights_RN[:, known].sum(1))


def _of_lesions(counts_R4: Array) -> dict[str, Array]:
    """Compute lesion-wise metrics of sums over cases: lesions, found, called, called rightly.

    F1 is 0 where there are lesions, or calls, and none is right.
    """
    lesions, hit, called, right = counts_R4.T
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, precision = hit / lesions, right / called
        f1 = 2 * sensitivity * precision / (sensitivity + precision)
    none_right = (hit + right == 0) & (lesions + called > 0)
    return {
        "lesion_sensitivity": sensitivity,
        "lesion_precision": precision,
        "lesion_f1": np.where(none_right, 0.0, f1),
    }


def _over_classes(values_CR: Sequence[Array]) -> Array:
    stacked = np.stack(values_CR)
    known = np.isfinite(stacked)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, stacked, 0).sum(0) / known.sum(0))


def _counts(measured_NM: Array) -> Mapping[str, int]:
    predicted, true = measured_NM[:, 1] > 0, measured_NM[:, 2] > 0
    return {
        "with_mask": int(true.sum()),
        "both_empty": int((~predicted & ~true).sum()),
        "only_predicted": int((predicted & ~true).sum()),
        "only_true": int((~predicted & true).sum()),
    }
