"""Ids out are ids in, wherever pycocotools can read them; and what it reads gives our own figures."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from medtrain.core.coco import read_back, results, truth_file
from medtrain.core.coco_ids import category_ids
from medtrain.core.truth import PredictedBoxes, Truth, id_array
from medtrain.metric.detection import map50

CLASSES = ("a", "b", "c")
BIG = 2**70
HOSTILE: dict[str, list[Any]] = {
    "from 0": list(range(8)),
    "gaps": [900, 3, 12, 7, 501, 2, 88, 10**6],
    "negative": list(range(-3, 5)),
    "texts": [f"film-{n}" for n in range(8)],
    "texts of numbers": [f"{n:03d}" for n in range(8)],
    "beyond 64 bits": [BIG + n for n in range(8)],
    "some beyond 64 bits": [1, 2, 3, 4, 5, 6, 7, BIG],
    "large and negative": [2**63 + 1, 2**63 + 2, 2**62 + 1, -1, 5, 6, 7, 8],
    "fractions": [n + 0.5 for n in range(8)],
    "large and fractions": [2**60 + 1, 2**60 + 2, 0.5, 1, 2, 3, 4, 5],
    "mixed": [1, "1", 2, "2", 3, "3", 4, "4"],
    "duplicates": [1, 1, 2, 2, 3, 3, 4, 4],
    "none": [None] * 8,
    "true": [True, 2, 3, 4, 5, 6, 7, 8],
}
KEPT = {
    "from 0", "gaps", "negative", "texts", "texts of numbers", "beyond 64 bits", "some beyond 64 bits", "fractions",
}  # fmt: skip


def case(image: list[Any], box: list[Any], category: tuple[Any, ...] = ()) -> tuple[Truth, PredictedBoxes]:
    """Eight images with a box each, of which the last two are missed, and every third found badly."""
    draw = np.random.default_rng(0)
    corner = draw.uniform(0, 50, (8, 2))
    boxes, label, number = np.concatenate([corner, corner + 20], 1), np.arange(8) % 3, np.arange(8)
    size = np.full((8, 2), 96)
    area = np.full(8, 400.0)
    truth = Truth(boxes, label, number, number < 0, area, id_array(box), size, id_array(image), category)
    shift = np.where(number % 3 == 0, 8.0, 1.0)[:, None]
    return truth, PredictedBoxes(boxes[:6] + shift[:6], draw.uniform(0.2, 1, 6), label[:6], number[:6])


def written(truth: Truth, predicted: PredictedBoxes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Both files, through JSON."""
    names = [f"{n}.png" for n in range(8)]
    said = results(predicted, truth.image_ids, truth.category_ids(3))
    pair: Any = json.loads(json.dumps([truth_file(truth, names, names, CLASSES), said]))
    return pair[0], pair[1]


def by_pycocotools(true: dict[str, Any], said: list[dict[str, Any]], folder: Path) -> float:
    (folder / "t.json").write_text(json.dumps(true))
    (folder / "p.json").write_text(json.dumps(said))
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(folder / "t.json"))
        judge = COCOeval(theirs, theirs.loadRes(str(folder / "p.json")), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[1])


@pytest.mark.parametrize("name", HOSTILE)
def test_images_and_annotations_with_hostile_ids(name: str, tmp_path: Path) -> None:
    ids = HOSTILE[name]
    truth, predicted = case(ids, ids)
    true, said = written(truth, predicted)
    ours = map50(truth, predicted, 3)
    assert 0.2 < ours < 0.9
    assert by_pycocotools(true, said, tmp_path) == pytest.approx(ours, abs=1e-12)
    images = [image["id"] for image in true["images"]]
    assert images == (ids if name in KEPT else list(range(1, 9)))
    sources = [image.get("source_id") for image in true["images"]]
    if name in KEPT:
        assert sources == [None] * 8
    for marked in true["annotations"]:
        whole = isinstance(marked["id"], int) and marked["id"] > 0
        assert whole and marked.get("source_id", marked["id"]) in [*ids, *range(1, 9)]
    again, found = read_back(said, true)
    assert map50(again, found, 3) == pytest.approx(ours, abs=1e-12)
    np.testing.assert_array_equal(again.label_M, truth.label_M)


def test_annotation_ids_that_can_be_kept_are_and_others_stand_beside() -> None:
    kept, _ = written(*case(list(range(8)), [BIG, 4, 9, 1, 2, 3, 77, 10**9]))
    assert [row["id"] for row in kept["annotations"]] == [BIG, 4, 9, 1, 2, 3, 77, 10**9]
    assert not any("source_id" in row for row in kept["annotations"])
    anew, _ = written(*case(list(range(8)), [0, 4, 9, 1, 2, 3, 77, 8]))
    assert [row["id"] for row in anew["annotations"]] == list(range(1, 9))
    assert [row.get("source_id", row["id"]) for row in anew["annotations"]] == [0, 4, 9, 1, 2, 3, 77, 8]


@pytest.mark.parametrize("ids", [(90, 3, 0), ("x", "y", "z"), (BIG, 1, 2), (0.5, 1.5, 2), (-1, 0, 1)], ids=str)
def test_categories_are_the_users(ids: tuple[Any, ...], tmp_path: Path) -> None:
    truth, predicted = case(list(range(8)), list(range(1, 9)), ids)
    true, said = written(truth, predicted)
    assert [(c["id"], c["name"]) for c in true["categories"]] == list(zip(ids, CLASSES, strict=True))
    assert {row["category_id"] for row in said} == set(ids)
    assert by_pycocotools(true, said, tmp_path) == pytest.approx(map50(truth, predicted, 3), abs=1e-12)
    again, found = read_back(said, true)
    np.testing.assert_array_equal(again.label_M, truth.label_M)
    order = np.lexsort((-predicted.score_N, predicted.image_N))
    np.testing.assert_array_equal(found.label_N, predicted.label_N[order])


def test_categories_that_a_file_lacks_get_free_numbers() -> None:
    assert category_ids(CLASSES, {"a": 2, "c": 1}) == (2, 3, 1)
    assert category_ids(CLASSES, {}) == (1, 2, 3)
    assert category_ids(CLASSES, {"a": "x", "b": 1}) == (1, 2, 3)  # no two kinds of ids in one file
    assert category_ids(CLASSES, {"a": 1, "b": 1}) == (1, 2, 3)
