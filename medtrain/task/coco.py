"""Boxes as COCO's JSON files have them: what other tools read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.truth import Truth
from medtrain.metric import Found


def results(found: Found, image_id_N: np.ndarray, **more: Sequence[Any]) -> list[dict[str, Any]]:
    """COCO results: image_id, category_id (the class's number from 1), bbox (x, y, width, height) and score.

    Args:
        image_id_N: the id of each image.
        more: further fields, a value a box.
    """
    order = np.lexsort((-found.score_N, found.image_N))
    rows = [
        {
            "image_id": int(image_id_N[found.image_N[i]]),
            "category_id": int(found.label_N[i]) + 1,
            "bbox": _xywh(found.boxes_N4[i]),
            "score": float(found.score_N[i]),
        }
        for i in order
    ]
    for name, values in more.items():
        for row, i in zip(rows, order, strict=True):
            row[name] = values[i]
    return rows


def truth_file(truth: Truth, rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """COCO ground truth: images with their case and patient, categories from 1, annotations."""
    images = [
        {"id": int(number), "file_name": str(case), "patient": str(patient), "height": int(h), "width": int(w)}
        for number, case, patient, (h, w) in zip(
            truth.image_id_N, rows["case"], rows["patient"], truth.size_N2, strict=True
        )
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


def _xywh(box_4: np.ndarray) -> list[float]:
    x0, y0, x1, y1 = (float(v) for v in box_4)
    return [x0, y0, x1 - x0, y1 - y0]
