"""What predicted boxes are worth: metrics, counts and files of a judged split, whatever network predicted them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medtrain.core.coco import results, truth_file
from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.metric import EvalOptions, HitRule, Limits, constant_scores, evaluate_boxes
from medtrain.target import Outcome


def judge_boxes(
    truth: Truth,
    boxes: PredictedBoxes,
    rows: pd.DataFrame,
    classes: Sequence[str],
    thresholds: Limits,
    options: EvalOptions,
    rule: HitRule,
) -> Outcome:
    """Compute all metrics with intervals, and the files of COCO's form.

    Args:
        rows: case and patient of each image.
        thresholds: {class: score from which on a box is shown}, of all images or of each.
    """
    patients = rows["patient"].tolist()
    metrics = evaluate_boxes(truth, boxes, classes, thresholds, patients, options, rule=rule)
    boxes_C = np.bincount(truth.label_M[~truth.crowd_M], minlength=len(classes))
    counts = {
        "n_cases": len(rows),
        "n_patients": int(rows["patient"].nunique()),
        "n_boxes": len(truth.boxes_M4),
        "labels": {name: {"positive": int(n)} for name, n in zip(classes, boxes_C, strict=True)},
        "hit": rule.hit,
        "iou": rule.iou,
    }
    files = {
        "test_predictions.json": results(boxes, truth.image_ids, truth.category_ids(len(classes))),
        "test_truth.json": truth_file(truth, rows["case"].tolist(), patients, classes),
    }
    highest_CN = np.zeros((len(classes), len(rows)))
    np.maximum.at(highest_CN, (boxes.label_N, boxes.image_N), boxes.score_N)
    scores = {f"the highest score of {name!r} in an image": row for name, row in zip(classes, highest_CN, strict=True)}
    return Outcome(counts | metrics, files, constant_scores(scores))
