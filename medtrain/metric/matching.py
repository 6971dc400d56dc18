"""Matching of predictions to lesions, as COCO has it, for all images, thresholds and size ranges at once.

In each image and class, predictions take turns from the surest to the least sure; each takes the free box that it
overlaps most, if by the threshold at least. So a box is found once, and a second prediction on it is a false positive.
Equal to pycocotools (Lin et al., Microsoft COCO, ECCV 2014), down to ties.

What need not be found is of two kinds, and any number of predictions on either count nowhere. A crowd is a region of
many objects (COCO): a prediction lies on it by the share of the prediction that does. A difficult object is one object
(Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010, section 4.2; the development kit's
VOCevaldet.m): a prediction lies on it by their IoU, as on any other, so that a small one within it is a false alarm.
A prediction that overlaps a lesion and something of either kind by the threshold finds the lesion, as COCO has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.metric.bootstrap import Array

SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Ranges of a box's area in square pixels, both ends included; of the originals, as COCO has them."""

COCO_MOST = 100
"""Predictions of an image and class that COCO's average precision counts, the surest."""

CELLS = 4_000_000  # of a block of images that are matched together


@dataclass(frozen=True)
class Matches:
    """The outcome of each prediction, and the boxes there were to find; predictions from the surest on.

    Args:
        predicted: the predictions that count: of each image and class the surest, if not all.
        hit_NTA: found a box, at each threshold and for each range of sizes.
        ignored_NTA: counts neither as right nor as wrong (on a crowd or a difficult object, or of another size).
        label_M, image_M: the true boxes.
        ignored_MA: those that need not be found, for each range of sizes.
        thresholds: T IoUs.
        sizes: A names of `SIZES`.
    """

    predicted: PredictedBoxes
    hit_NTA: Array
    ignored_NTA: Array
    label_M: Array
    image_M: Array
    ignored_MA: Array
    thresholds: tuple[float, ...]
    sizes: tuple[str, ...]


def match(
    truth: Truth,
    predicted: PredictedBoxes,
    thresholds: Sequence[float],
    sizes: Sequence[str] = ("all",),
    most: int | None = None,
) -> Matches:
    """Match predictions to boxes.

    Args:
        truth: of all images.
        predicted: in the same images.
        thresholds: IoUs from which a prediction finds a box.
        sizes: names of `SIZES`.
        most: predictions of an image and class that count, the surest; None for all.
    """
    classes = 1 + max(int(part.max(initial=0)) for part in (truth.label_M, predicted.label_N))
    key_N = predicted.image_N * classes + predicted.label_N
    order = np.lexsort((-predicted.score_N, key_N))
    # the number within its image and class, whose rows stand side by side
    rank = np.arange(len(order)) - np.searchsorted(key_N[order], key_N[order])
    order = order if most is None else order[rank < most]
    predicted, key_N = predicted.select(order), key_N[order]
    key_M = truth.case_M * classes + truth.label_M
    limits_A2 = np.array([SIZES[name] for name in sizes])
    ignored_MA = truth.crowd_M[:, None] | _outside(truth.area_M, limits_A2)
    shape = (len(order), len(thresholds), len(sizes))
    hit_NTA, ignored_NTA = np.zeros(shape, bool), np.zeros(shape, bool)
    ignored_NTA[:] = _outside(_area(predicted.boxes_N4), limits_A2)[:, None]
    rows_M = np.argsort(key_M, kind="stable")
    # as pycocotools has it: at a threshold of 1 an IoU that rounding left just below counts
    limit_T = np.minimum(np.asarray(thresholds, np.float64), 1 - 1e-10)
    for keys in _blocks(key_N, key_M, shape[1] * shape[2]):
        rows_GD = _padded(keys, key_N)
        rows_GM = _padded(keys, key_M[rows_M])
        rows_GM = np.where(rows_GM < 0, -1, rows_M[rows_GM])
        iou_GDM = _ious(predicted.boxes_N4[rows_GD], truth.boxes_M4[rows_GM], truth.region_M[rows_GM])
        iou_GDM[np.broadcast_to((rows_GM < 0)[:, None], iou_GDM.shape)] = -1
        results = _take_turns(iou_GDM, ignored_MA[rows_GM], truth.crowd_M[rows_GM], limit_T)
        real = rows_GD >= 0
        hit_NTA[rows_GD[real]] = results[0][real]
        ignored_NTA[rows_GD[real]] = np.where(results[1][real], results[2][real], ignored_NTA[rows_GD[real]])
    surest = np.lexsort((predicted.image_N, -predicted.score_N))
    return Matches(
        predicted.select(surest),
        hit_NTA[surest],
        ignored_NTA[surest],
        truth.label_M,
        truth.case_M,
        ignored_MA,
        tuple(thresholds),
        tuple(sizes),
    )


def _take_turns(iou_GDM: Array, ignored_GMA: Array, crowd_GM: Array, limit_T: Array) -> tuple[Array, Array, Array]:
    """Let predictions take boxes: (took one that counts, took any, the one taken is ignored), each (G, D, T, A)."""
    groups, turns, width = iou_GDM.shape
    shape = (groups, turns, len(limit_T), ignored_GMA.shape[2])
    hit, took, ignored = (np.zeros(shape, bool) for _ in range(3))
    skip_GAM = ignored_GMA.transpose(0, 2, 1)[:, None]  # (G, 1, A, M)
    free = np.ones((groups, *shape[2:], width), bool)
    shared_GM = crowd_GM[:, None, None]
    for turn in range(turns):
        reach = (iou_GDM[:, turn, None, :] >= limit_T[:, None])[:, :, None]  # (G, T, 1, M)
        open_ = reach & (free | shared_GM)
        iou = iou_GDM[:, turn, None, None, :]
        best = np.where(open_ & ~skip_GAM, iou, -1.0)
        second = np.where(open_ & skip_GAM, iou, -1.0)
        right = best.max(-1) >= 0
        chosen = np.where(right[..., None], best, second)
        last = width - 1 - chosen[..., ::-1].argmax(-1)  # of equals the last
        any_ = chosen.max(-1) >= 0
        hit[:, turn], took[:, turn], ignored[:, turn] = right, any_, any_ & ~right
        g, t, a = any_.nonzero()
        free[g, t, a, last[g, t, a]] = False
    return hit, took, ignored


def _blocks(key_N: Array, key_M: Array, states: int) -> Iterator[Array]:
    """List keys of images and classes with both predictions and boxes, alike in number, a bearable block at a time."""
    keys = np.intersect1d(key_N, key_M)
    n, m = ((np.searchsorted(k, keys, "right") - np.searchsorted(k, keys)) for k in (key_N, np.sort(key_M)))
    bucket = np.ceil(np.log2(m)).astype(int) * 64 + np.ceil(np.log2(n)).astype(int)
    for count in np.unique(bucket):
        same = np.flatnonzero(bucket == count)
        rows = max(1, CELLS // int(m[same].max() * max(states, n[same].max())))
        for start in range(0, len(same), rows):
            yield keys[same[start : start + rows]]


def _padded(keys_G: Array, sorted_keys: Array) -> Array:
    """List (G, width) positions of each key's rows in ascending `sorted_keys`, -1 where there are no more."""
    first, last = np.searchsorted(sorted_keys, keys_G), np.searchsorted(sorted_keys, keys_G, "right")
    positions = first[:, None] + np.arange((last - first).max())
    return np.where(positions < last[:, None], positions, -1)


def _area(boxes_N4: Array) -> Array:
    return np.asarray((boxes_N4[..., 2] - boxes_N4[..., 0]) * (boxes_N4[..., 3] - boxes_N4[..., 1]))


def _outside(area_N: Array, limits_A2: Array) -> Array:
    return np.asarray((area_N[:, None] < limits_A2[:, 0]) | (area_N[:, None] > limits_A2[:, 1]))


def _ious(a_GD4: Array, b_GM4: Array, crowd_GM: Array) -> Array:
    """Compute pairwise IoU; with a crowd, the share of the prediction that lies on it."""
    a, b = a_GD4[:, :, None], b_GM4[:, None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(0).prod(-1)
    whole = np.where(crowd_GM[:, None], _area(a), _area(a) + _area(b) - shared)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
