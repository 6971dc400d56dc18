"""Suppression of boxes without torch: the rule of torchvision's ``batched_nms``, for programs that have no torch.

Greedy suppression (Felzenszwalb et al., Object detection with discriminatively trained part based models, PAMI 2010,
section 7.2), in float32 as networks compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Suppression:
    """Which of the boxes that a network proposes in an image remain.

    Args:
        overlap: of two boxes of a group with a larger IoU the surer one stays.
        most: boxes an image.
        score: those that are not surer are dropped; -1 drops none.
        smallest: width and height in pixels below which a box is dropped.
    """

    overlap: float
    most: int
    score: float = -1.0
    smallest: float = 0.0


def suppress_plain(
    boxes_N4: NDArray[np.float32], score_N: NDArray[np.float32], group_N: NDArray[np.int64], rule: Suppression
) -> NDArray[np.int64]:
    """Suppress boxes of one image: the positions of those that remain, the surest first.

    Args:
        boxes_N4: (left, top, right, bottom) in pixels.
        group_N: class or level; boxes of different ones do not suppress each other.
    """
    side_N2 = boxes_N4[:, 2:] - boxes_N4[:, :2]
    fit = np.flatnonzero((score_N > np.float32(rule.score)) & (side_N2 >= np.float32(rule.smallest)).all(1))
    rows = fit[np.argsort(-score_N[fit], kind="stable")]
    chosen: list[int] = []
    while len(rows) and len(chosen) < rule.most:
        first, rows = rows[0], rows[1:]
        chosen.append(int(first))
        rival = (group_N[rows] == group_N[first]) & (_iou(boxes_N4[first], boxes_N4[rows]) > rule.overlap)
        rows = rows[~rival]
    return np.array(chosen, np.int64)


def _iou(box_4: NDArray[np.float32], boxes_N4: NDArray[np.float32]) -> Any:
    """Compute the overlap of a box with others, as torchvision does: no width below 0, nothing over 0 is no overlap."""
    shared_N2 = np.minimum(box_4[2:], boxes_N4[:, 2:]) - np.maximum(box_4[:2], boxes_N4[:, :2])
    shared_N = shared_N2.clip(0).prod(1)
    areas_N, area = (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(1), (box_4[2:] - box_4[:2]).prod()
    union_N = area + areas_N - shared_N
    return np.divide(shared_N, union_N, out=np.zeros_like(shared_N), where=union_N != 0)
