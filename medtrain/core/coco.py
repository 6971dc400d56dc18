"""Boxes as COCO's JSON files have them: what other tools read, and what a report is made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.truth import PredictedBoxes, Truth


def results(predicted: PredictedBoxes, image_id_N: NDArray[Any], **more: Sequence[Any]) -> list[dict[str, Any]]:
    """Convert predicted boxes to COCO results: image_id, category_id (from 1), bbox (x, y, width, height) and score.

    Args:
        image_id_N: the id of each image.
        more: further fields, a value a box.
    """
    order = np.lexsort((-predicted.score_N, predicted.image_N)).tolist()
    return [
        {
            "image_id": int(image_id_N[predicted.image_N[i]]),
            "category_id": int(predicted.label_N[i]) + 1,
            "bbox": _xywh(predicted.boxes_N4[i]),
            "score": float(predicted.score_N[i]),
        }
        | {name: values[i] for name, values in more.items()}
        for i in order
    ]


def truth_file(truth: Truth, cases: Sequence[str], patients: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """Convert true boxes to COCO ground truth: images with case and patient, annotations, categories from 1."""
    named = zip(truth.image_id_N.tolist(), cases, patients, truth.size_N2.tolist(), strict=True)
    images = [
        {"id": number, "file_name": str(case), "patient": str(patient), "height": height, "width": width}
        for number, case, patient, (height, width) in named
    ]
    annotations = [
        {
            "id": int(truth.id_M[i]),
            "image_id": int(truth.image_id_N[truth.case_M[i]]),
            "category_id": int(truth.label_M[i]) + 1,
            "bbox": _xywh(truth.boxes_M4[i]),
            "area": float(truth.area_M[i]),
            "iscrowd": int(truth.crowd_M[i]),
        }
        for i in range(len(truth.boxes_M4))
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def read_back(entries: Sequence[dict[str, Any]], true: dict[str, Any]) -> tuple[Truth, PredictedBoxes]:
    """Read what `truth_file` and `results` wrote; images are numbered in the order of the file."""
    images, marked = true["images"], true["annotations"]
    number = {image["id"]: i for i, image in enumerate(images)}
    truth = Truth(
        _edges(marked),
        np.array([row["category_id"] - 1 for row in marked], np.int64),
        np.array([number[row["image_id"]] for row in marked], np.int64),
        np.array([bool(row["iscrowd"]) for row in marked], bool),
        np.array([row["area"] for row in marked], np.float64),
        np.array([row["id"] for row in marked], np.int64),
        np.array([(image["height"], image["width"]) for image in images], np.int64).reshape(-1, 2),
        np.array([image["id"] for image in images], np.int64),
    )
    predicted = PredictedBoxes(
        _edges(entries),
        np.array([row["score"] for row in entries], np.float64),
        np.array([row["category_id"] - 1 for row in entries], np.int64),
        np.array([number[row["image_id"]] for row in entries], np.int64),
    )
    return truth, predicted


def _xywh(box_4: NDArray[Any]) -> list[float]:
    x0, y0, x1, y1 = box_4.tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def _edges(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    xywh = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
