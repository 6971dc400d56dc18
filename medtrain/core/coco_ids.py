"""Ids of COCO files: a user's are handed back as they came, wherever pycocotools can read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LARGEST = 2**1023  # pycocotools keeps an annotation's id in a float64


def is_id(value: Any) -> bool:
    """Tell whether a value of a JSON file can be an id: text, or a finite number."""
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value == value and _finite(value)


def survives(ids: Sequence[Any]) -> bool:
    """Tell whether ids are distinct and numpy.unique, through which pycocotools passes them, leaves them as they are.

    It makes texts of numbers among texts, and rounds large numbers among fractions or negative ones.
    """
    if not all(is_id(value) for value in ids) or len(set(ids)) < len(ids):
        return False
    try:
        return set(np.unique(list(ids)).tolist()) == set(ids)
    except (TypeError, OverflowError):
        return False


def image_ids(own: Sequence[Any]) -> list[Any]:
    """Give the ids of a file's images: their own where those survive, else from 1."""
    return list(own) if survives(own) else list(range(1, len(own) + 1))


def annotation_ids(own: Sequence[Any]) -> list[Any]:
    """Give the ids of a file's annotations: their own where all are distinct positive integers, else from 1.

    pycocotools takes 0 for 'not matched', and can't take texts.
    """
    fit = all(isinstance(value, int) and not isinstance(value, bool) and 0 < value < LARGEST for value in own)
    return list(own) if fit and len(set(own)) == len(own) else list(range(1, len(own) + 1))


def category_ids(classes: Sequence[str], own: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give the ids of classes: those that a file has for their names, and free numbers for others; else from 1."""
    numbers = iter(range(1, 2 * (len(classes) + len(own)) + 2))
    taken = set(own.values())
    free = (number for number in numbers if number not in taken)
    ids = [own[name] if name in own else next(free) for name in classes]
    return tuple(ids) if survives(ids) else tuple(range(1, len(classes) + 1))


def sources(own: Sequence[Any], written: Sequence[Any]) -> list[dict[str, Any]]:
    """Give what is written beside each id that is not the user's: {"source_id": theirs}, if they had one."""
    return [
        {} if theirs is None or (theirs == ours and isinstance(theirs, str) == isinstance(ours, str))
        else {"source_id": theirs}
        for theirs, ours in zip(own, written, strict=True)
    ]  # fmt: skip


def _finite(value: str | int | float) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
