"""What COCO files hold beside plain boxes: outlines, ids of any kind, pictures in several folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as masks

from medtrain.io.boxes import Annotations, read_coco
from medtrain.io.boxes.outline import outline_box

BIG = 2**70


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 60), 100, np.uint8)).save(path)


def read(root: Path, annotations: list[dict[str, Any]], images: Any = None, categories: Any = None) -> Annotations:
    content = {
        "images": images or [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": n, "image_id": 1, "category_id": 1} | row for n, row in enumerate(annotations)],
        "categories": categories or [{"id": 1, "name": "mass"}],
    }
    root.mkdir(exist_ok=True)
    (root / "a.json").write_text(json.dumps(content))
    return read_coco(root)


@pytest.mark.parametrize("seed", range(30))
def test_bounds_of_a_mask_are_pycocotools(seed: int) -> None:
    draw = np.random.default_rng(seed)
    height, width = draw.integers(2, 300, 2).tolist()
    mask = np.zeros((height, width), np.uint8)
    if seed % 3:
        (top, bottom), (left, right) = (np.sort(draw.choice(n, 2, replace=False)) for n in (height, width))
        mask[top:bottom, left:right] = 1
        mask[top, right - 1] = 0 if bottom - top > 1 and right - left > 1 else 1
    else:
        mask = (draw.random((height, width)) < 0.001 * seed + 0.01).astype(np.uint8)
        mask[height // 2, width // 2] = 1
    runs = masks.encode(np.asfortranarray(mask))
    x, y, w, h = masks.toBbox(runs).tolist()
    text = {"size": runs["size"], "counts": runs["counts"].decode()}
    assert outline_box(text) == (x, y, x + w, y + h)
    columns = mask.ravel("F")
    edges = np.flatnonzero(np.diff(columns)) + 1
    counts = np.diff([0, *edges, len(columns)]).tolist()
    plain = {"size": [height, width], "counts": [0, *counts] if columns[0] else counts}
    assert outline_box(plain) == (x, y, x + w, y + h)


@pytest.mark.parametrize(
    ("outline", "words"),
    [
        ([[1, 2, 3, 4]], "three points or more"),
        ([[1, 2, 3, 4, 5, "x"]], "no number"),
        ({"size": [2, 2], "counts": [4]}, "marks no pixel"),
        ({"size": [2, 2], "counts": [1, 1]}, "cover 2 of 2 x 2"),
        ({"size": [2, 2], "counts": "a b"}, "no digit"),
        ({"size": [2], "counts": [1, 3]}, "the size [2]"),
        ({"counts": None, "size": [2, 2]}, "neither a list"),
    ],
)
def test_outlines_at_fault(outline: Any, words: str, tmp_path: Path) -> None:
    found = read(tmp_path, [{"segmentation": outline}])
    assert [p.kind for _, p in found.bad] == ["bad_box"] and words in str(found.bad[0][1])


def test_boxes_of_outlines_where_there_is_no_bbox(tmp_path: Path) -> None:
    polygon = [[10, 5, 20.5, 5, 15, 25], [30, 8, 31, 8, 31, 9]]
    found = read(
        tmp_path,
        [
            {"segmentation": polygon},
            {"segmentation": {"size": [4, 5], "counts": [5, 2, 13]}, "bbox": []},
            {"segmentation": polygon, "bbox": [1, 2, 3, 4]},
        ],
    )
    assert found.box == [(10, 5, 31, 25), (1, 1, 2, 3), (1, 2, 4, 6)] and found.outline == [True, True, False]
    assert "2 annotations have no bbox" in found.warnings[0].detail


@pytest.mark.parametrize("key", [None, True, [1], {"a": 1}, float("nan")], ids=str)
def test_what_is_no_id_is_named(key: Any, tmp_path: Path) -> None:
    rows = [{"image_id": key, "bbox": [1, 2, 3, 4]}, {"category_id": key, "bbox": [1, 2, 3, 4]}]
    images = [{"id": 1, "file_name": "a.png"}, {"id": key, "file_name": "b.png"}]
    found = read(tmp_path, rows, images, [{"id": 1, "name": "mass"}, {"id": key, "name": "other"}])
    assert sorted(p.kind for _, p in found.bad) == ["bad_box", "bad_category", "bad_image", "bad_label"]


def test_ids_are_kept_as_they_are(tmp_path: Path) -> None:
    images = [{"id": key, "file_name": f"{n}.png"} for n, key in enumerate((0, "x", BIG, 1.5))]
    rows = [{"id": key, "image_id": 0, "bbox": [1, 2, 3, 4], "category_id": BIG} for key in (0, "y", BIG, 0)]
    found = read(tmp_path, rows, images, [{"id": BIG, "name": "mass"}, {"id": "z", "name": "mass"}])
    assert found.image_id == [0, "x", BIG, 1.5] and found.box_id == [0, "y", BIG, 0]
    assert found.category_id == {"mass": BIG} and not found.bad
    assert [p.kind for p in found.warnings] == ["category_ids", "duplicate_id"]


def test_the_test_files_category_ids_count(tmp_path: Path) -> None:
    for split, number in (("train", 1), ("test", 7), ("valid", 1)):
        read(tmp_path / split, [], [{"id": 1, "file_name": f"{split}.png"}], [{"id": number, "name": "mass"}])
        picture(tmp_path / split / f"{split}.png")
    found = read_coco(tmp_path)
    assert found.category_id == {"mass": 7}
    assert {p.kind for p in found.warnings} == {"category_ids"}


def test_pictures_in_several_folders_and_backslashes(tmp_path: Path) -> None:
    names = ["a.png", "deep/b.png", "old\\\\c.png", "d.png", "twice.png"]
    for place in ("images/a", "images/deep/b", "old/c", "more/of/d", "x/twice", "y/twice"):
        picture(tmp_path / f"{place}.png")
    found = read(tmp_path, [], [{"id": n, "file_name": name.replace("\\\\", "\\")} for n, name in enumerate(names)])
    there = [Path(path).is_file() for path in found.path]
    assert there == [True, True, True, True, False]  # which of two is meant nobody knows
    assert Path(found.path[2]) == tmp_path / "old/c.png"
