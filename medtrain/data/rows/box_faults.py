"""Boxes against the images they lie in: what has no area, lies outside, or is written in another unit."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medtrain.core.box_fusion import pair_iou
from medtrain.core.errors import DataError, Problem
from medtrain.io.boxes import Annotations

ROUNDING = 1.0  # pixels that a box may reach beyond its image without a word
SHARE, LEAST = 0.1, 3  # of the boxes: what so many have in common is a mistake of the whole, not of single boxes
SHARE_LIMIT = 1.5  # a share of the image that is larger is none

SAME = 0.9  # IoU from which a box and the bounds of an outline are of one object

ADVICE = {
    "shares": "multiply them by width and height, or take data=yolo",
    "xywh": "a box table has columns width and height for these (data.columns.width, data.columns.height)",
    "xyxy": "COCO wants x, y, width, height; a box table has columns x_max and y_max for corners",
    "scale": "are they in pixels of images of another size?",
}


@dataclass
class Judged:
    """Boxes that can be used.

    Attributes:
        boxes_M4: float64 in pixels of the files, within the images.
        box_M: their positions among all boxes.
        bad: problems of images whose boxes cannot be trusted.
        warnings: of boxes that were left out or cut.
    """

    boxes_M4: NDArray[np.float64]
    box_M: NDArray[np.int64]
    bad: list[tuple[int, Problem]] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def judge(boxes: Annotations, size_N2: NDArray[np.float64], by_reader: bool = False) -> Judged:
    """Leave zero-area, reversed, outside and repeated boxes out, cut those that reach outside, and tell of all.

    Args:
        size_N2: (height, width) of the files; NaN where unknown, and their boxes are left out without a word.
        by_reader: equal boxes of two readers are two.

    Raises:
        DataError: the boxes as a whole are in another unit.
    """
    box_M4 = np.array(boxes.box, np.float64).reshape(-1, 4)
    image_M = np.array(boxes.image, np.int64)
    edge_M4 = size_N2[image_M][:, [1, 0, 1, 0]]
    out = Judged(box_M4, np.arange(len(box_M4)))
    known_M = np.asarray(np.isfinite(edge_M4).all(1))
    finite_M = np.asarray(np.isfinite(box_M4).all(1))
    _blame(out, boxes, ~finite_M, "bad_box", "a coordinate is no number")
    usable_M = known_M & finite_M
    if boxes.unit == "share":
        wild_M = usable_M & (box_M4.max(1, initial=0) > SHARE_LIMIT)
        detail = "{} where shares of the image, 0 to 1, are wanted: are they pixels?"
        _blame(out, boxes, wild_M, "box_unit", detail)
        usable_M &= ~wild_M
        box_M4 = box_M4 * np.where(known_M[:, None], edge_M4, 0)
    else:
        _refuse_units(boxes, box_M4[usable_M], edge_M4[usable_M])
    reversed_M = usable_M & (box_M4[:, 2:] < box_M4[:, :2]).any(1)
    empty_M = usable_M & ~reversed_M & (box_M4[:, 2:] == box_M4[:, :2]).any(1)
    cut_M4 = np.clip(box_M4, 0, np.where(known_M[:, None], edge_M4, np.inf))
    gone_M = usable_M & ~reversed_M & ~empty_M & (cut_M4[:, 2:] <= cut_M4[:, :2]).any(1)
    left_M = usable_M & ~reversed_M & ~empty_M & ~gone_M
    over_M = left_M & (np.abs(box_M4 - cut_M4) > ROUNDING).any(1)
    again_M = left_M & (_repeated(boxes, cut_M4, by_reader) | _outlined(boxes, cut_M4, left_M))
    for kind, which_M, detail in (
        ("reversed_box", reversed_M, "{} ends before it begins; left out"),
        ("zero_area", empty_M, "{} has no area; left out"),
        ("outside_box", gone_M, "{} lies outside its image ({} x {} pixels); left out"),
        ("clipped_box", over_M, "{} reaches beyond its image ({} x {} pixels); cut"),
        ("duplicate_box", again_M, "{} comes twice; once left out"),
    ):
        out.warnings += [
            Problem(kind, boxes.box_where[m], detail.format(_shown(box_M4[m]), *_size(edge_M4[m])), "warning")
            for m in np.flatnonzero(which_M).tolist()
        ]
    out.warnings += _emptied(boxes, usable_M & ~left_M, left_M)
    out.box_M = np.flatnonzero(left_M & ~again_M)
    out.boxes_M4 = cut_M4[out.box_M]
    return out


def _emptied(boxes: Annotations, dropped_M: NDArray[np.bool_], left_M: NDArray[np.bool_]) -> list[Problem]:
    """Tell of images that have boxes of which none can be used, so that they count as showing nothing."""
    image_M = np.array(boxes.image, np.int64)
    image_I, first_I, count_I = np.unique(image_M, return_index=True, return_counts=True)
    emptied_I = np.isin(image_I, np.setdiff1d(image_M[dropped_M], image_M[left_M]))
    detail = "no box of this image can be used (of {}), so it counts as showing nothing: mend them or leave it out"
    return [
        Problem("no_box_left", boxes.box_where[first], detail.format(count), "warning")
        for first, count in zip(first_I[emptied_I].tolist(), count_I[emptied_I].tolist(), strict=True)
    ]


def _blame(out: Judged, boxes: Annotations, which_M: NDArray[np.bool_], kind: str, detail: str) -> None:
    for m in np.flatnonzero(which_M).tolist():
        text = detail.format(_shown(np.array(boxes.box[m])))
        out.bad.append((boxes.image[m], Problem(kind, boxes.box_where[m], text)))


def _refuse_units(boxes: Annotations, box_M4: NDArray[np.float64], edge_M4: NDArray[np.float64]) -> None:
    """Refuse boxes in another unit, which shows in many at once, so it is no matter of single rows."""
    total = len(box_M4)
    if not total:
        return
    many = max(LEAST, SHARE * total)
    turned = int((box_M4[:, 2:] < box_M4[:, :2]).any(1).sum())
    beyond_M = (box_M4 > edge_M4 + ROUNDING).any(1)
    wh_M2 = box_M4[:, 2:] - box_M4[:, :2]  # as written, where widths were
    corners = (wh_M2 > box_M4[:, :2]).all() and (wh_M2 <= edge_M4[:, 2:] + ROUNDING).all()
    if box_M4.max() <= 1:
        detail, advice = f"all {total} boxes lie within 0..1: shares of the image, where pixels are wanted", "shares"
    elif boxes.unit == "xyxy" and turned >= many:
        detail = f"{turned} of {total} boxes end before they begin: x, y, width, height, where corners are wanted?"
        advice = "xywh"
    elif beyond_M.sum() >= many:
        detail = f"{int(beyond_M.sum())} of {total} boxes reach beyond their images"
        as_corners = boxes.unit == "xywh" and corners
        advice = "xyxy" if as_corners else "scale"
        detail += ": x_min, y_min, x_max, y_max, where x, y, width, height are wanted?" if as_corners else ""
    else:
        return
    problem = Problem("box_unit", boxes.file.name, f"{detail}; {ADVICE[advice]}")
    others = [*(problem for _, problem in boxes.bad)]
    raise DataError("the boxes are in another unit:", [problem, *others])


def _repeated(boxes: Annotations, box_M4: NDArray[np.float64], by_reader: bool) -> NDArray[np.bool_]:
    """Find boxes of an image and class (and reader) that stand there already."""
    seen: set[tuple[object, ...]] = set()
    again = np.zeros(len(box_M4), bool)
    readers = boxes.reader if by_reader else [""] * len(box_M4)
    for m, key in enumerate(zip(boxes.image, boxes.label, readers, map(tuple, box_M4.tolist()), strict=True)):
        again[m] = key in seen
        seen.add(key)
    return again


def _outlined(boxes: Annotations, box_M4: NDArray[np.float64], usable_M: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find bounds of outlines that are the box of the same object: of one image, class and reader, and alike."""
    again, plain = np.zeros(len(box_M4), bool), defaultdict[tuple[object, ...], list[int]](list)
    keys = list(zip(boxes.image, boxes.label, boxes.reader, strict=True))
    for m in np.flatnonzero(usable_M & ~np.array(boxes.outline, bool)).tolist():
        plain[keys[m]].append(m)
    for m in np.flatnonzero(usable_M & np.array(boxes.outline, bool)).tolist():
        if rows := plain.get(keys[m]):
            near = (np.abs(box_M4[rows] - box_M4[m]) <= ROUNDING).all(1)
            again[m] = bool((near | (pair_iou(box_M4[m], box_M4[rows]) >= SAME)).any())
    return again


def _shown(box_4: NDArray[np.float64]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in box_4)})"


def _size(edge_4: NDArray[np.float64]) -> tuple[str, str]:
    return f"{edge_4[0]:.0f}", f"{edge_4[1]:.0f}"
