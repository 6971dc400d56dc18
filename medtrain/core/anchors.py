"""Anchors that fit the boxes: their shapes from the training boxes as the network sees them, and what they can reach.

A detector with anchors learns nothing of a box that no anchor overlaps; the usual ones, 32 pixels and more, overlap no
nodule of 6. So shapes are fitted to the boxes after resizing, and the share that they reach is told by size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

SHAPES = 300  # of boxes that stand for all
ROUNDS = 100
EDGES = (0, 8, 16, 32, 64, 96)  # pixels, the square root of a box's area
PLACES = 64  # where a box may lie in relation to the grids
_ROOT = 1.3247179572447460  # of x^3 = x + 1

Shapes = NDArray[np.float64]  # (M, 2) widths and heights in pixels


class Reach(NamedTuple):
    """The recall of boxes of one range of sizes, `low` <= sqrt(area) < `high` pixels (inf), and their number."""

    low: float
    high: float
    boxes: int
    recall: float


def typical_shapes(wh_M2: ArrayLike, most: int = SHAPES) -> Shapes:
    """Choose boxes at even distances in the order of their areas: at most `most`, each standing for as many."""
    wh = np.asarray(wh_M2, np.float64).reshape(-1, 2)
    order = np.lexsort((wh[:, 0], wh[:, 1], wh.prod(1)))
    chosen = np.arange(len(wh)) if len(wh) <= most else ((np.arange(most) + 0.5) * len(wh) / most).astype(np.int64)
    return np.round(wh[order[chosen]], 2)


def as_pairs(wh_M2: Shapes) -> tuple[tuple[float, float], ...]:
    """Turn shapes into pairs, as `DataSpec.boxes` holds them."""
    return tuple((w, h) for w, h in wh_M2.tolist())


def iou_of_shapes(a_M2: Shapes, b_K2: Shapes) -> NDArray[np.float64]:
    """Compute the (M, K) intersection over union of boxes that share their centre."""
    both = np.minimum(a_M2[:, None], b_K2[None]).prod(-1)
    return np.asarray(both / np.maximum(a_M2.prod(-1)[:, None] + b_K2.prod(-1)[None] - both, 1e-12))


def fit_anchors(wh_M2: ArrayLike, levels: int, per_level: int) -> list[Shapes]:
    """Fit the shapes of `per_level` anchors for each level of a pyramid, from the finest to the coarsest.

    k-means with the distance 1 - IoU (Redmon and Farhadi, YOLO9000, CVPR 2017), begun at quantiles of the area, so the
    same boxes give the same anchors. Sorted by area, they are dealt out to the levels in runs.

    Raises:
        ValueError: no boxes.
    """
    wh = np.asarray(wh_M2, np.float64).reshape(-1, 2)
    if not len(wh):
        raise ValueError("no boxes to fit anchors to")
    number = levels * per_level
    wh = wh[np.argsort(wh.prod(1), kind="stable")]
    centres = wh[((np.arange(number) + 0.5) * len(wh) / number).astype(np.int64)]
    nearest = np.full(len(wh), -1)
    for _ in range(ROUNDS):
        before, nearest = nearest, iou_of_shapes(wh, centres).argmax(1)
        if (nearest == before).all():
            break
        for k in np.unique(nearest):
            # a median, since the mean of boxes would follow a few large ones
            centres[k] = np.median(wh[nearest == k], 0)
    centres = centres[np.argsort(centres.prod(1), kind="stable")]
    return list(centres.reshape(levels, per_level, 2))


def anchor_recall(
    wh_M2: ArrayLike, anchors: Sequence[ArrayLike], strides: Sequence[int], threshold: float = 0.5
) -> NDArray[np.float64]:
    """Compute (M,) the share of places of a box at which some anchor overlaps it by an IoU of `threshold` or more.

    Args:
        wh_M2: boxes in pixels of the input.
        anchors: (A, 2) widths and heights, a level each.
        strides: pixels between the anchors of each level.
    """
    wh = np.asarray(wh_M2, np.float64).reshape(-1, 2)
    points_P2 = places(PLACES) * max(strides)
    best_MP = np.zeros((len(wh), len(points_P2)))
    for shapes, stride in zip(anchors, strides, strict=True):
        off_P2 = np.abs((points_P2 + stride / 2) % stride - stride / 2)  # from the nearest anchor's centre
        for shape in np.asarray(shapes, np.float64).reshape(-1, 2):
            reach_M2 = (wh + shape) / 2
            overlap_MP2 = np.minimum(reach_M2[:, None] - off_P2, np.minimum(wh, shape)[:, None]).clip(0)
            both_MP = overlap_MP2.prod(-1)
            best_MP = np.maximum(best_MP, both_MP / (wh.prod(1)[:, None] + shape.prod() - both_MP))
    return np.asarray((best_MP >= threshold).mean(1))


def places(count: int) -> NDArray[np.float64]:
    """Spread points evenly over the unit square whatever grid lies over it (Roberts' R2 sequence, 2018): (count, 2)."""
    return np.asarray((0.5 + np.outer(np.arange(count), [_ROOT**-1, _ROOT**-2])) % 1)


def recall_by_size(wh_M2: ArrayLike, recall_M: ArrayLike) -> list[Reach]:
    """Average `anchor_recall` over each range of sizes that has boxes."""
    wh, recall = np.asarray(wh_M2, np.float64).reshape(-1, 2), np.asarray(recall_M, np.float64)
    place = np.searchsorted(EDGES, np.sqrt(wh.prod(1)), "right") - 1
    ends = (*EDGES[1:], np.inf)
    return [
        Reach(EDGES[n], ends[n], int((place == n).sum()), float(recall[place == n].mean()))
        for n in np.unique(place).tolist()
    ]
