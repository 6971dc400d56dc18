"""Images with boxes inspected: all that is looked at in images, then the boxes as the network would see them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medtrain.core.anchors import EDGES, anchor_recall, as_pairs, recall_by_size, typical_shapes
from medtrain.core.errors import Problem
from medtrain.core.truth import Truth
from medtrain.data.batches.box_places import places
from medtrain.data.batches.boxes import BoxData
from medtrain.inspection import Finding, Inspection, images
from medtrain.inspection.findings import Bars, no_bar
from medtrain.model.anchors import level_shapes

TINY = 8.0  # pixels of the network's input; a detector's finest map has a cell for every 4 or 8
OFTEN = 0.05  # of the boxes that are tiny: more than single ones
STRIDES, EACH = (4, 8, 16, 32, 64), 3  # anchors of Faster R-CNN with ResNet-50
COLOURS = ("#ffb000", "#00c2ff", "#ff4f81", "#7ee081", "#c79bff", "#ffffff")


def inspect(data: BoxData, near: bool = True, progress: Bars = no_bar) -> Inspection:
    """Inspect the images, and add the boxes' own findings, facts and pictures; arguments as there."""
    inspection = images.inspect(data, near, progress)
    truth, rows = inspection.truth, inspection.used
    if inspection.spec is None or truth is None:
        return inspection
    used, place_N4 = truth.select(rows), places(truth.size_N2, data.form)
    wh_M2 = (used.boxes_M4[:, 2:] - used.boxes_M4[:, :2]) * place_N4[rows][used.case_M, :2]
    inspection.add(
        _tiny(wh_M2, place_N4[rows][used.case_M, 0].astype(np.float64), data)
        + _no_negatives(used, rows)
        + _overlapping(used, rows, inspection.cases["case"].tolist())
    )
    picture = inspection.picture
    return replace(
        inspection,
        images=inspection.images | {"boxes": _facts(used, wh_M2, inspection, rows)},
        picture=lambda row: _with_boxes(picture(row), truth, row, place_N4[row]),
    )


def _larger(wh_M2: NDArray[np.float64], scale_M: NDArray[np.float64], data: BoxData) -> str:
    """Advise a size at which 1 in 20 boxes is tiny. With fit=shrink no image is enlarged, so that a larger
    data.image_size helps only as far as images were made smaller.

    Args:
        wh_M2: widths and heights in pixels of the network's input.
        scale_M: pixels of the input for a pixel of the file.
    """
    side_M, size = wh_M2.min(1), max(data.form.size)
    fit, words = "", "data.image_size={}{} would leave 1 in 20"
    if data.form.fit == "shrink":
        in_file = float(np.quantile(side_M / scale_M, OFTEN))
        # each box reaches TINY at the size that its image needs, and never if it is smaller than that in its file
        needed = np.quantile(
            np.where(side_M / scale_M < TINY, np.inf, size * TINY / side_M), 1 - OFTEN, method="higher"
        )
        if np.isfinite(needed):
            return words.format(int(np.ceil(needed / 32) * 32), fit)
        fit = f" with data.fit=pad, which enlarges images (1 in 20 is up to {in_file:.1f} pixels in its file),"
    side = float(np.quantile(side_M, OFTEN))
    return words.format(int(np.ceil(size * TINY / max(side, 1e-6) / 32) * 32), fit)


def _tiny(wh_M2: NDArray[np.float64], scale_M: NDArray[np.float64], data: BoxData) -> list[Finding]:
    small = wh_M2.min(1, initial=np.inf) < TINY
    if not small.any():
        return []
    share = small.mean()
    detail = (
        f"{int(small.sum()):,} of {len(small):,} boxes are less than {TINY:.0f} pixels wide or high at "
        f"data.image_size={max(data.form.size)}, the smallest {wh_M2.min():.1f}: most detectors miss these. "
        f"{_larger(wh_M2, scale_M, data)}; data.tile cuts large images up"
    )
    return [Finding(Problem("tiny_boxes", "the boxes", detail, "warning" if share >= OFTEN else "note"))]


def _no_negatives(used: Truth, rows: NDArray[np.int64]) -> list[Finding]:
    if len(np.unique(used.case_M)) < len(used) or not len(used):
        return []
    detail = "no image is without boxes: how often a model raises a false alarm in a healthy one cannot be told"
    return [Finding(Problem("no_negatives", "the whole set", detail, "note"))]


def _overlapping(used: Truth, rows: NDArray[np.int64], names: list[str]) -> list[Finding]:
    """Find boxes of one class that share most of their area: often the same lesion drawn by several readers."""
    images: list[int] = []
    for case in np.unique(used.case_M).tolist():
        own = used.of(case)
        boxes, label = used.boxes_M4[own], used.label_M[own]
        inner = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        both, area = inner.clip(0).prod(-1), (boxes[:, 2:] - boxes[:, :2]).prod(1)
        iou = both / (area[:, None] + area - both)
        if (np.triu(iou > 0.5, 1) & (label[:, None] == label)).any():
            images.append(int(rows[case]))
    if not images:
        return []
    detail = (
        f"{len(images):,} images have boxes of one class that overlap by more than half, the first {names[images[0]]}: "
        "lesions drawn by several readers count as several"
    )
    return [Finding(Problem("overlapping_boxes", "the boxes", detail, "note"), tuple(images[:1]))]


def _facts(used: Truth, wh_M2: NDArray[np.float64], inspection: Inspection, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Summarise counts and sizes at the size of the network's input, for inspect.json."""
    assert inspection.spec is not None
    boxes_of_image = np.bincount(used.case_M, minlength=len(used))
    patient = inspection.cases["patient"].to_numpy()[rows]
    side = np.sqrt(wh_M2.prod(1))
    bins = Counter(np.searchsorted(EDGES, side, "right").tolist())
    facts: dict[str, Any] = {
        "total": len(side),
        "images_without": int((boxes_of_image == 0).sum()),
        "per_image": {"median": float(np.median(boxes_of_image)), "max": int(boxes_of_image.max(initial=0))}
        if len(boxes_of_image)
        else {},
        "classes": {
            name: {
                "boxes": int((of := used.label_M == c).sum()),
                "images": len(np.unique(used.case_M[of])),
                "patients": len(set(patient[used.case_M[of]].tolist())),
            }
            for c, name in enumerate(inspection.spec.classes)
        },
        "side_px": {
            f"{low} to {high}" if high else f"{low} and more": bins[n]
            for n, (low, high) in enumerate(zip(EDGES, (*EDGES[1:], None), strict=True), start=1)
        },
    }
    if len(side):
        shapes = typical_shapes(wh_M2)
        anchors = level_shapes(replace(inspection.spec, boxes=as_pairs(shapes)), STRIDES, EACH)
        recall = recall_by_size(shapes, anchor_recall(shapes, anchors, STRIDES))
        facts["anchors"] = [[[round(w, 1), round(h, 1)] for w, h in level.tolist()] for level in anchors]
        facts["anchor_recall"] = {f"{r.low:.0f} to {r.high:.0f}": round(r.recall, 3) for r in recall}
    return facts


def _with_boxes(
    picture: NDArray[Any] | None, truth: Truth, row: int, place_4: NDArray[np.float32]
) -> NDArray[np.uint8] | None:
    """Draw the picture in colour and 8 bit with its boxes, a colour a class."""
    if picture is None:
        return None
    eight = picture if picture.dtype == np.uint8 else (picture // 257).astype(np.uint8)
    image = Image.fromarray(np.moveaxis(np.broadcast_to(eight, (3, *eight.shape[1:])), 0, -1).copy())
    draw, own = ImageDraw.Draw(image), truth.of(row)
    boxes = truth.boxes_M4[own] * np.tile(place_4[:2], 2) + np.tile(place_4[2:], 2)
    width = max(1, max(image.size) // 128)  # to be seen in a thumbnail
    for box, label in zip(boxes.tolist(), truth.label_M[own].tolist(), strict=True):
        draw.rectangle(tuple(box), outline=COLOURS[label % len(COLOURS)], width=width)
    return np.moveaxis(np.asarray(image), -1, 0)
