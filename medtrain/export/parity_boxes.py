"""Are two files of COCO results the same? Boxes are paired, since suppression decides ties by the last bit."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrain.export.parity import Limits, Parity
from medtrain.io.files import beside, read_json

PIXELS = 0.5  # of the file, between two edges
UNSTEADY = 0.01  # of all boxes; of fewer than 200 a pair

Row = dict[str, Any]


def compare_boxes(ours: Path, theirs: Path, limits: Limits) -> Parity:
    """Compare what the run and predict.py have found in the same images.

    Boxes of an image and class are paired by their edges. Which of two boxes of one score suppresses the other, and so
    a chain of further ones, hangs on the last bit; so of those below the threshold, which nobody is shown, a few
    (`UNSTEADY`) may have no counterpart, and are told.
    """
    tables = [pd.read_csv(beside(file, "images", ".json"), dtype=str, keep_default_na=False) for file in (ours, theirs)]
    parity = Parity(len(tables[0]))
    bare = [table.drop(columns="boxes") for table in tables]
    if not bare[0].equals(bare[1]):
        rows = bare[0].to_dict("records"), bare[1].to_dict("records")
        apart = [f"{one}: not {other}" for one, other in zip(*rows, strict=False) if one != other]
        parity.faults += apart or [f"{len(bare[1])} images, not {len(bare[0])}"]
        return parity
    one, other = (_by_image(read_json(file)) for file in (ours, theirs))
    for image in sorted(set(one) | set(other)):
        _image(parity, one[image], other[image], limits)
    total = sum(map(len, one.values()))
    if len(parity.unsteady) > max(2, UNSTEADY * total):
        parity.faults.append(f"{len(parity.unsteady)} of {total} boxes have no counterpart, such as:")
        parity.faults += parity.unsteady
    return parity


def _by_image(entries: list[Row]) -> dict[Any, list[Row]]:
    grouped: dict[Any, list[Row]] = defaultdict(list)
    for entry in entries:
        grouped[entry["image_id"]].append(entry)
    return grouped


def _image(parity: Parity, one: list[Row], other: list[Row], limits: Limits) -> None:
    """Pair the boxes of an image, and judge the pairs and what is left."""
    edges = [_edges(side) for side in (one, other)]
    apart_NM = np.abs(edges[0][:, None] - edges[1]).max(-1) if one and other else np.zeros((len(one), len(other)))
    alike = np.array([[a["category_id"] == b["category_id"] for b in other] for a in one], bool)
    apart_NM = np.where(alike.reshape(apart_NM.shape), apart_NM, np.inf)
    free = [set(range(len(one))), set(range(len(other)))]
    for place in np.argsort(apart_NM, axis=None, kind="stable").tolist():
        row, column = divmod(place, len(other))
        if apart_NM[row, column] > PIXELS:
            break
        if row in free[0] and column in free[1]:
            free[0].discard(row)
            free[1].discard(column)
            _pair(parity, one[row], other[column], float(apart_NM[row, column]), limits)
    for entries, rest, where in ((one, free[0], "only the run has it"), (other, free[1], "only the export has it")):
        for own in (entries[row] for row in sorted(rest)):
            text = f"{own['file_name']}: {own['category']} {own['score']:.6f} {_at(own)}: {where}"
            if own["shown"]:
                parity.changed.append(text)
                parity.faults.append(text)
            else:
                parity.unsteady.append(text)


def _pair(parity: Parity, one: Row, other: Row, apart: float, limits: Limits) -> None:
    away = abs(one["score"] - other["score"])
    parity.largest, parity.pixels = max(parity.largest, away), max(parity.pixels, apart)
    named = f"{one['file_name']}: {one['category']} {_at(one)}: score {other['score']:.8f}, not {one['score']:.8f}"
    if away > limits.probability:
        parity.faults.append(named)
    if one["shown"] != other["shown"]:
        near = abs(one["score"] - limits.thresholds[one["category"]])
        parity.changed.append(f"{named}; {near:.2g} from where it tips")
        if not limits.changes or near > limits.probability:
            parity.faults.append(parity.changed[-1])


def _edges(entries: list[Row]) -> Any:
    xywh = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)


def _at(entry: Row) -> str:
    return "at " + ", ".join(f"{value:.1f}" for value in entry["bbox"])
