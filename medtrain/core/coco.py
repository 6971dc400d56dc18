"""Boxes as COCO's JSON files have them: what other tools read, and what a report is made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.coco_ids import annotation_ids, sources
from medtrain.core.truth import PredictedBoxes, Truth, id_array


def results(
    predicted: PredictedBoxes, image_ids: Sequence[Any], category_ids: Sequence[Any], **more: Sequence[Any]
) -> list[dict[str, Any]]:
    """Convert predicted boxes to COCO results: image_id, category_id, bbox (x, y, width, height) and score.

    Args:
        image_ids, category_ids: the id of each image and class, as the truth's file has them.
        more: further fields, a value a box.
    """
    order = np.lexsort((-predicted.score_N, predicted.image_N)).tolist()
    return [
        {
            "image_id": image_ids[predicted.image_N[i]],
            "category_id": category_ids[predicted.label_N[i]],
            "bbox": _xywh(predicted.boxes_N4[i]),
            "score": float(predicted.score_N[i]),
        }
        | {name: values[i] for name, values in more.items()}
        for i in order
    ]


def truth_file(truth: Truth, cases: Sequence[str], patients: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """Convert true boxes to COCO ground truth: images with case and patient, annotations, categories.

    A difficult box, which COCO doesn't know, is a crowd in it, and said to be ``difficult``. Ids are the user's; where
    pycocotools could not take them, they count from 1 beside the user's, ``source_id``.
    """
    ids, sizes = truth.image_ids, truth.size_N2.tolist()
    images = [
        {"id": number, "file_name": str(case), "patient": str(patient), "height": height, "width": width} | more
        for number, case, patient, (height, width), more in zip(
            ids, cases, patients, sizes, sources(truth.image_id_N.tolist(), ids), strict=True
        )
    ]
    own = truth.id_M.tolist()
    numbers, categories = annotation_ids(own), truth.category_ids(len(classes))
    annotations = [
        {
            "id": numbers[i],
            "image_id": ids[truth.case_M[i]],
            "category_id": categories[truth.label_M[i]],
            "bbox": _xywh(truth.boxes_M4[i]),
            "area": float(truth.area_M[i]),
            "iscrowd": int(truth.crowd_M[i]),
        }
        | ({"difficult": 1} if truth.difficult_M is not None and truth.difficult_M[i] else {})
        | more
        for i, more in enumerate(sources(own, numbers))
    ]
    named = [{"id": number, "name": name} for number, name in zip(categories, classes, strict=True)]
    return {"images": images, "annotations": annotations, "categories": named}


def read_back(entries: Sequence[dict[str, Any]], true: dict[str, Any]) -> tuple[Truth, PredictedBoxes]:
    """Read what `truth_file` and `results` wrote; images and classes are numbered in the order of the file."""
    images, marked = true["images"], true["annotations"]
    number = {image["id"]: i for i, image in enumerate(images)}
    label = {category["id"]: i for i, category in enumerate(true["categories"])}
    truth = Truth(
        _edges(marked),
        np.array([label[row["category_id"]] for row in marked], np.int64),
        np.array([number[row["image_id"]] for row in marked], np.int64),
        np.array([bool(row["iscrowd"]) for row in marked], bool),
        np.array([row["area"] for row in marked], np.float64),
        id_array([row.get("source_id", row["id"]) for row in marked]),
        np.array([(image["height"], image["width"]) for image in images], np.int64).reshape(-1, 2),
        id_array([image.get("source_id", image["id"]) for image in images]),
        tuple(label),
        np.array([bool(row.get("difficult")) for row in marked], bool),
    )
    predicted = PredictedBoxes(
        _edges(entries),
        np.array([row["score"] for row in entries], np.float64),
        np.array([label[row["category_id"]] for row in entries], np.int64),
        np.array([number[row["image_id"]] for row in entries], np.int64),
    )
    return truth, predicted


def _xywh(box_4: NDArray[Any]) -> list[float]:
    x0, y0, x1, y1 = box_4.tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def _edges(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    xywh = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
