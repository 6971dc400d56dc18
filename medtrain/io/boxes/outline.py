"""The bounding box of an outline as COCO writes it: polygons, or a mask in runs.

A mask's runs go down the columns and are 0 and 1 in turn (Lin et al., Microsoft COCO, ECCV 2014). Counts are a list, or
a text in which each is a number in digits of five bits, from the fourth on as the difference to the last but one.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from medtrain.io.boxes.annotations import Numbers


def outline_box(outline: Any) -> Numbers:
    """Bound what an annotation's `segmentation` holds: (x0, y0, x1, y1) in pixels.

    Raises:
        ValueError: it is neither polygons nor a mask in runs, or it marks nothing.
    """
    if isinstance(outline, dict):
        return _of_runs(outline)
    if not isinstance(outline, list) or not outline:
        raise ValueError("its segmentation is neither polygons nor a mask in runs")
    polygons = outline if isinstance(outline[0], list) else [outline]
    if not all(isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0 for p in polygons):
        raise ValueError("a polygon of its segmentation is not x and y of three points or more")
    numbers = [value for polygon in polygons for value in polygon]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers):
        raise ValueError("a polygon of its segmentation holds what is no number")
    xs, ys = [x for p in polygons for x in p[::2]], [y for p in polygons for y in p[1::2]]
    return float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))


def _of_runs(mask: dict[str, Any]) -> Numbers:
    counts, size = mask.get("counts"), mask.get("size")
    if not (isinstance(size, list) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)):
        raise ValueError(f"its mask has the size {size}, not [height, width]")
    if isinstance(counts, str):
        counts = _numbers(counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError("its mask's counts are neither a list of numbers nor their text")
    height, width = size
    ends = list(accumulate(counts))
    if not ends or ends[-1] != height * width:
        raise ValueError(f"its mask's runs cover {ends[-1] if ends else 0} of {height} x {width} pixels")
    runs = [(end - run, end - 1) for end, run in zip(ends[1::2], counts[1::2], strict=True) if run]
    if not runs:
        raise ValueError("its mask marks no pixel")
    within = [(a % height, b % height) if a // height == b // height else (0, height - 1) for a, b in runs]
    x0, x1 = min(a for a, _ in runs) // height, max(b for _, b in runs) // height + 1
    return float(x0), float(min(a for a, _ in within)), float(x1), float(max(b for _, b in within) + 1)


def _numbers(text: str) -> list[int]:
    """Read counts from a text: of each character less 48, five bits are a digit, the sixth says that more follow."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise ValueError("its mask's counts hold a character that is no digit")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:  # the sign
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts
