"""Weighted box fusion: boxes of one object from several readers, networks or views become one box.

After Solovyev et al., Weighted boxes fusion: ensembling boxes from different object detection models, Image and Vision
Computing 2021, section 3. Unlike suppression, which drops all but the surest, the fused box is a mean of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from medtrain.core.boxes import Detections
from medtrain.core.truth import PredictedBoxes

OVERLAP = 0.55  # the paper's threshold


def fuse_boxes(
    boxes: PredictedBoxes, source_N: NDArray[np.int64], sources: int | Sequence[float], overlap: float = OVERLAP
) -> tuple[PredictedBoxes, NDArray[np.int64]]:
    """Fuse boxes of an image and class whose IoU with the fused box so far is larger than `overlap`.

    The surest come first. A fused box's edges are the mean, weighted by scores; its score is the mean of the scores
    times the share of the sources that drew it (the paper's eq. 1 to 5). Beyond the paper, a source gives at most one
    box to a fused one: two lesions that one reader drew stay two.

    Args:
        source_N: who drew each box, from 0.
        sources: how many looked at the images, drawing or not; or a weight each.
        overlap: 0..1.

    Returns:
        fused boxes, by image, the surest first, and how many sources drew each.
    """
    weight_S = np.ones(sources) if isinstance(sources, int) else np.asarray(sources, np.float64)
    parts: list[tuple[NDArray[np.float64], float, int, int, int]] = []
    group_N2 = np.column_stack([boxes.image_N, boxes.label_N]).astype(np.int64).reshape(-1, 2)
    groups_G2, of_N = np.unique(group_N2, axis=0, return_inverse=True)
    order = np.lexsort((-boxes.score_N, of_N.ravel()))
    ends = np.cumsum(np.bincount(of_N.ravel(), minlength=len(groups_G2)))
    for (image, label), rows in zip(groups_G2.tolist(), np.split(order, ends[:-1]) if len(ends) else [], strict=True):
        for members in _clusters(boxes.boxes_N4[rows], boxes.score_N[rows], source_N[rows], weight_S, overlap):
            drawn = rows[members]
            score_K, weight_K = boxes.score_N[drawn], weight_S[source_N[drawn]]
            share = weight_K.sum() / weight_S.sum()
            score = float((score_K * weight_K).sum() / weight_K.sum() * share)
            parts.append((_mean(boxes.boxes_N4[drawn], score_K * weight_K), score, label, image, len(drawn)))
    fused = PredictedBoxes(
        np.array([part[0] for part in parts], np.float64).reshape(-1, 4),
        np.array([part[1] for part in parts], np.float64),
        np.array([part[2] for part in parts], np.int64),
        np.array([part[3] for part in parts], np.int64),
    )
    sorted_F = np.lexsort((-fused.score_N, fused.image_N))
    return fused.select(sorted_F), np.array([part[4] for part in parts], np.int64)[sorted_F]


def joined(parts: Sequence[PredictedBoxes]) -> tuple[PredictedBoxes, NDArray[np.int64]]:
    """Put the boxes of several sources one after the other, and number the source of each."""
    fields = ("boxes_N4", "score_N", "label_N", "image_N")
    boxes = PredictedBoxes(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
    return boxes, np.repeat(np.arange(len(parts)), [len(part.score_N) for part in parts])


def fuse_detections(parts: Sequence[Detections]) -> Detections:
    """Fuse what several views of one batch show, given in pixels of the same input."""
    plain = [
        PredictedBoxes(*(field.double().cpu().numpy() for field in part[:2]), *(f.cpu().numpy() for f in part[2:]))
        for part in parts
    ]
    fused, _ = fuse_boxes(*joined(plain), len(parts))
    first = parts[0]
    values = (fused.boxes_N4, fused.score_N, fused.label_N, fused.image_N)
    return Detections(*(torch.from_numpy(value).to(old) for value, old in zip(values, first, strict=True)))


def _clusters(
    boxes_K4: NDArray[np.float64],
    score_K: NDArray[np.float64],
    source_K: NDArray[np.int64],
    weight_S: NDArray[np.float64],
    overlap: float,
) -> list[list[int]]:
    """Group boxes, given the surest first, by the fused box that each overlaps most."""
    clusters: list[list[int]] = []
    fused_C4 = np.zeros((len(boxes_K4), 4))
    free_CS = np.ones((len(boxes_K4), len(weight_S)), bool)
    for row, (box, source) in enumerate(zip(boxes_K4, source_K.tolist(), strict=True)):
        iou_C = np.where(free_CS[: len(clusters), source], pair_iou(box, fused_C4[: len(clusters)]), 0.0)
        place = int(iou_C.argmax()) if len(iou_C) and iou_C.max() > overlap else len(clusters)
        if place == len(clusters):
            clusters.append([])
        clusters[place].append(row)
        free_CS[place, source] = False
        members = clusters[place]
        fused_C4[place] = _mean(boxes_K4[members], score_K[members] * weight_S[source_K[members]])
    return clusters


def _mean(boxes_K4: NDArray[np.float64], weight_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average edges; boxes that all weigh nothing count alike."""
    mean_4: NDArray[np.float64] = np.average(boxes_K4, axis=0, weights=weight_K if weight_K.sum() > 0 else None)
    return mean_4


def pair_iou(a_X4: NDArray[np.float64], b_X4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute intersection over union of boxes that broadcast, as `medtrain.core.boxes.iou` does of tensors."""
    both = (np.minimum(a_X4[..., 2:], b_X4[..., 2:]) - np.maximum(a_X4[..., :2], b_X4[..., :2])).clip(0).prod(-1)
    sides = [(box[..., 2:] - box[..., :2]).clip(0).prod(-1) for box in (a_X4, b_X4)]
    union: NDArray[np.float64] = sides[0] + sides[1] - both
    shares: NDArray[np.float64] = both / np.maximum(union, np.finfo(np.float64).tiny)
    return shares
