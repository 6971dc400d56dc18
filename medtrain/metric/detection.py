"""All numbers of a detection run: mAP as COCO has it, FROC, rates at the score threshold, intervals over patients."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.metric.bootstrap import Array, patient_counts, patient_index
from medtrain.metric.box_limits import BoxForms, Key
from medtrain.metric.groups import by_group
from medtrain.metric.hits import BY_OVERLAP, HitRule, Hits, find_hits
from medtrain.metric.matching import COCO_MOST, SIZES, match
from medtrain.metric.options import EvalOptions
from medtrain.metric.paired import Drawn
from medtrain.metric.policy import parse_box_policy
from medtrain.metric.recall import FALSE_POSITIVES, Curve, curve_of
from medtrain.metric.thresholds import surely

log = logging.getLogger(__name__)

COCO = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
LOOSE = (0.1, 0.3)
Limits = Mapping[str, Any]
"""{class: the score from which on a box is shown}, one number for all images or an array with one for each."""
AT = {"map50": 0.5, "map75": 0.75, "ap10": 0.1, "ap30": 0.3}


def fit_box_thresholds(
    truth: Truth,
    predicted: PredictedBoxes,
    classes: Sequence[str],
    policy: str | float,
    rule: HitRule = BY_OVERLAP,
    patients: Sequence[Any] | None = None,
) -> dict[str, float]:
    """Choose the score from which on a box of each class is shown, from validation data.

    f1: where F1 is largest, the highest of equals. sensitivity@X: the highest score that finds this share of the boxes.
    fp_per_image@X: the lowest score with no more false positives an image of that class. Where validation has no box of
    a class, or the sensitivity is out of reach, the score is 0.5, or the lowest. sensitivity@X+: see `surely`.

    Args:
        patients: of each image; None: each image is its own.

    Raises:
        UsageError: no such policy.
    """
    parsed = parse_box_policy(policy)
    if parsed.name == "fixed":
        return dict.fromkeys(classes, parsed.value)
    hits, limits = find_hits(truth, predicted, rule), {}
    patient_I, n = patient_index(patients, len(truth))
    for number, cls in enumerate(classes):
        own, boxes = hits.label_E == number, int((hits.label_M == number).sum())
        score, true = hits.score_E[own], hits.true_E[own]
        if not boxes or not len(score):
            log.warning("%s: no %s in the validation data to fit a threshold on; 0.5 is used", cls,
                        "box is found" if boxes else "box")  # fmt: skip
            limits[cls] = 0.5
        elif parsed.sure:
            patient_E = patient_I[hits.image_E[own]]
            found_at = functools.partial(_found, score, true, patient_E, n)
            limits[cls] = surely(
                np.unique(score)[::-1], found_at, hits.curve(number, patient_I, n).boxes_P, parsed, cls
            )
        else:
            limits[cls] = _threshold(score, true, boxes, len(truth), parsed.name, parsed.value)
    return limits


def _found(score_E: Array, true_E: Array, patient_E: Array, patients: int, limit: float) -> Array:
    """Count each patient's boxes that are found at a threshold."""
    return np.bincount(patient_E[true_E & (score_E >= limit)], minlength=patients)


def _threshold(score_N: Array, hit_N: Array, boxes: float, images: int, name: str, value: float) -> float:
    """Choose the threshold of one class; scores fall."""
    last = np.append(score_N[1:] != score_N[:-1], True)  # of equal scores: a threshold takes all or none
    true, false, score = np.cumsum(hit_N)[last], np.cumsum(~hit_N)[last], score_N[last]
    if name == "f1":
        index = int((2 * true / (true + false + boxes)).argmax())
    elif name == "sensitivity":
        index = min(int(np.searchsorted(true, value * boxes - 1e-9)), len(score) - 1)
    else:
        few = np.flatnonzero(false <= value * images)
        if not len(few):
            return float(np.nextafter(score[0], np.inf))
        index = int(few[-1])
    return float(score[index])


def map50(truth: Truth, predicted: PredictedBoxes, classes: int) -> float:
    """Compute the mean of the classes' AP at an IoU of 0.5; NaN without any box."""
    matches, everyone = match(truth, predicted, [0.5], most=COCO_MOST), np.zeros(len(truth), np.int64)
    weights = np.ones((1, 1))
    values = [curve_of(matches, c, 0, 0, everyone, 1).average_precision(weights)[0] for c in range(classes)]
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def evaluate_boxes(
    truth: Truth,
    predicted: PredictedBoxes,
    classes: Sequence[str],
    thresholds: Limits,
    patients: Sequence[Any],
    options: EvalOptions,
    *,
    rule: HitRule = BY_OVERLAP,
) -> dict[str, Any]:
    """Compute ``metrics``, ``per_class`` and ``groups`` of test_metrics.json; each number is {"value", "ci95"}.

    Args:
        truth, predicted: of the N images that are judged, numbered from 0.
        thresholds: from validation.
        patients: of each image.
        options: replicates of the intervals over patients, and groups of images.
        rule: by which a box finds a lesion, in FROC and at the threshold.
    """
    settings = (classes, thresholds, options, rule)
    results: dict[str, Any] = _judged(truth, predicted, patients, *settings)
    results["groups"] = by_group(
        options.groups, lambda in_N: _group(truth, predicted, patients, np.flatnonzero(in_N), *settings)
    )
    return results


def _group(
    truth: Truth,
    predicted: PredictedBoxes,
    patients: Sequence[Any],
    images: Array,
    classes: Sequence[str],
    thresholds: Limits,
    *settings: Any,
) -> dict[str, Any]:
    own, group_patients = truth.select(images), [patients[i] for i in images]
    limits = {name: np.broadcast_to(limit, len(truth))[images] for name, limit in thresholds.items()}
    boxes = np.bincount(own.label_M[~own.crowd_M], minlength=len(classes)).tolist()
    counts = {
        "n_cases": len(group_patients),
        "n_patients": len(set(group_patients)),
        "events": dict(zip(classes, boxes, strict=True)),
    }
    return counts | _judged(own, predicted.of_images(images), group_patients, classes, limits, *settings)


def _judged(
    truth: Truth,
    predicted: PredictedBoxes,
    patients: Sequence[Any],
    classes: Sequence[str],
    thresholds: Limits,
    options: EvalOptions,
    rule: HitRule,
) -> dict[str, Any]:
    sheet, drawn = draw_boxes(truth, predicted, patients, classes, thresholds, options, rule)
    forms = BoxForms(classes, sheet.counts, drawn.values, drawn.replicates)
    written = {key: forms.written(key) for key in drawn.values}
    whole = {name: entry for (cls, name), entry in written.items() if cls is None}
    per_class = {c: {name: entry for (cls, name), entry in written.items() if cls == c} for c in classes}
    return {"metrics": whole, "per_class": per_class, "few": forms.few()}


def draw_boxes(
    truth: Truth,
    predicted: PredictedBoxes,
    patients: Sequence[Any],
    classes: Sequence[str],
    thresholds: Limits,
    options: EvalOptions,
    rule: HitRule,
) -> tuple[BoxSheet, Drawn]:
    """Compute all metrics of a detector and their replicates; arguments as `evaluate_boxes` takes them."""
    patient_I, n_patients = patient_index(patients, len(truth))
    sheet = BoxSheet(truth, predicted, list(classes), thresholds, patient_I, n_patients, rule)
    values = {key: float(value[0]) for key, value in sheet.statistics(np.ones((n_patients, 1))).items()}
    drawn: dict[Key, list[Array]] = {}
    for counts_RP in patient_counts(n_patients, options.bootstrap if n_patients > 1 else 0, options.seed):
        for key, value_R in sheet.statistics(counts_RP.T.astype(np.float64)).items():
            drawn.setdefault(key, []).append(value_R)
    return sheet, Drawn(values, {key: np.concatenate(parts) for key, parts in drawn.items()}, n_patients)


class BoxSheet:
    """The matches of one evaluation, arranged once so that any weights of the patients give all metrics."""

    def __init__(
        self,
        truth: Truth,
        predicted: PredictedBoxes,
        classes: list[str],
        thresholds: Limits,
        patient_I: Array,
        n_patients: int,
        rule: HitRule,
    ) -> None:
        self.classes, self.patients = classes, n_patients
        steps = (*LOOSE, *COCO)
        matches = match(truth, predicted, steps, tuple(SIZES), COCO_MOST)
        numbers = range(len(classes))

        def curves(threshold: float, size: str) -> list[Curve]:
            place = (steps.index(threshold), list(SIZES).index(size), patient_I, n_patients)
            return [curve_of(matches, c, *place) for c in numbers]

        self.curves = {(threshold, size): curves(threshold, size) for threshold in COCO for size in SIZES}
        self.curves |= {(threshold, "all"): curves(threshold, "all") for threshold in LOOSE}
        hits = find_hits(truth, predicted, rule)
        self.froc = [hits.curve(c, patient_I, n_patients) for c in numbers]
        self.images_P = np.bincount(patient_I, minlength=n_patients)
        limit_IC = np.stack([np.broadcast_to(thresholds[name], len(truth)) for name in classes], 1)
        self._decided(hits, limit_IC, patient_I)
        empty_I = np.ones(len(truth), bool)
        empty_I[truth.case_M] = False  # an image that shows a crowd or something difficult only isn't negative
        self.negative_P = np.bincount(patient_I[empty_I], minlength=n_patients)
        alarm = (predicted.score_N >= limit_IC[predicted.image_N, predicted.label_N]) & empty_I[predicted.image_N]
        self.alarms_P = np.bincount(patient_I[predicted.image_N[alarm]], minlength=n_patients)

    def _decided(self, hits: Hits, limit_IC: Array, patient_I: Array) -> None:
        """Count true and false positives of each class at its threshold, by patient."""
        shown, patient_E = hits.score_E >= limit_IC[hits.image_E, hits.label_E], patient_I[hits.image_E]
        self.true_CP, self.false_CP = (
            np.stack([np.bincount(patient_E[part & (hits.label_E == c)], minlength=self.patients) for c in range(n)])
            for n in [len(self.classes)]
            for part in (shown & hits.true_E, shown & ~hits.true_E)
        )

    @property
    def counts(self) -> dict[str, Array]:
        """Give the counts behind rates at the threshold, by patient, as `BoxForms` takes them."""
        boxes_CP = np.stack([curve.boxes_P for curve in self.froc])
        decided = {"true": self.true_CP, "false": self.false_CP, "boxes": boxes_CP}
        return decided | {"alarms": self.alarms_P, "negative": self.negative_P}

    def statistics(self, weights_PR: Array) -> dict[Key, Array]:
        """Compute values_R of every metric, NaN where undefined; of the whole the mean over classes that have boxes."""
        by_class = [self._of_class(c, weights_PR) for c in range(len(self.classes))]
        out: dict[Key, Array] = {(None, name): _mean([values[name] for values in by_class]) for name in by_class[0]}
        negative_R = self.negative_P @ weights_PR
        with np.errstate(divide="ignore", invalid="ignore"):
            out[None, "fp_per_negative_image"] = np.where(
                negative_R > 0, self.alarms_P @ weights_PR / negative_R, np.nan
            )
        return out | {
            (cls, name): v for cls, values in zip(self.classes, by_class, strict=True) for name, v in values.items()
        }

    def _of_class(self, c: int, weights_PR: Array) -> dict[str, Array]:
        ap = {key: curves[c].average_precision(weights_PR) for key, curves in self.curves.items()}
        out = {"map": np.mean([ap[threshold, "all"] for threshold in COCO], axis=0)}
        out |= {name: ap[threshold, "all"] for name, threshold in AT.items()}
        out |= {
            f"map_{size}": np.mean([ap[threshold, size] for threshold in COCO], axis=0)
            for size in SIZES
            if size != "all"
        }
        rates = self.froc[c].froc(weights_PR, self.images_P @ weights_PR)
        out |= {f"froc_{rate:g}": rates[i] for i, rate in enumerate(FALSE_POSITIVES)}
        out["cpm"] = rates.mean(axis=0)
        true_R, false_R = self.true_CP[c] @ weights_PR, self.false_CP[c] @ weights_PR
        boxes_R = self.froc[c].boxes_P @ weights_PR
        with np.errstate(divide="ignore", invalid="ignore"):
            out["sensitivity"] = np.where(boxes_R > 0, true_R / boxes_R, np.nan)
            out["ppv"] = np.where(true_R + false_R > 0, true_R / (true_R + false_R), np.nan)
            out["f1"] = np.where(boxes_R > 0, 2 * true_R / (true_R + false_R + boxes_R), np.nan)
        return out


def _mean(values_CR: Sequence[Array]) -> Array:
    """Average over the classes in which a metric is defined; NaN where it is in none."""
    stacked = np.stack(values_CR)
    known = np.isfinite(stacked)
    with np.errstate(invalid="ignore"):
        return np.asarray(
            np.where(known, stacked, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        )
