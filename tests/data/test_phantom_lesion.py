"""The lesion phantom: real files in COCO's layout, boxes on nodules from 4 pixels up, many films without any."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import UsageError
from medtrain.data.phantom.lesion import make_phantom_lesion
from tests.data.boxes import option
from tests.data.tables import opened


def test_its_files(tmp_path: Path) -> None:
    make_phantom_lesion(tmp_path, patients=24, image_size=128, seed=0)
    content = json.loads((tmp_path / "annotations.json").read_text())
    images, annotations = content["images"], content["annotations"]
    files = {image["id"]: Image.open(tmp_path / "images" / image["file_name"]) for image in images}
    assert all(files[i["id"]].size == (i["width"], i["height"]) for i in images)
    assert {file.mode for file in files.values()} == {"L", "I;16"}
    with_boxes = {a["image_id"] for a in annotations}
    assert 0.3 < len(with_boxes) / len(images) < 0.6
    assert max(sum(a["image_id"] == i for a in annotations) for i in with_boxes) >= 3
    sides = np.array([np.sqrt(a["bbox"][2] * a["bbox"][3]) for a in annotations])
    assert 4 <= sides.min() < 6 and 15 < sides.max() < 28
    brighter = []
    for a in annotations:
        pixels = np.asarray(files[a["image_id"]], np.float64)
        x, y, w, h = a["bbox"]
        inner = pixels[round(y + h / 4) : round(y + 3 * h / 4), round(x + w / 4) : round(x + 3 * w / 4)]
        frame = pixels[max(0, round(y - h / 2)) : round(y + 1.5 * h), max(0, round(x - w / 2)) : round(x + 1.5 * w)]
        brighter.append(inner.mean() > frame.mean())
    assert np.mean(brighter) > 0.95


def test_it_is_the_default_of_detection_and_marked(tmp_path: Path) -> None:
    node = option("phantom_lesion", patients=20, image_size=64, cache_dir=str(tmp_path))
    data = opened("phantom_lesion", node, report=str)
    data.prepare()
    assert data.synthetic and data.spec.classes == ("nodule",) and data.spec.size == (64, 64)
    assert data.cases.groupby("patient")["split"].nunique().max() == 1 and data.cases["patient"].nunique() == 20
    again = opened("phantom_lesion", {**node, "cache_dir": str(tmp_path / "other")}, report=str)
    again.prepare()
    assert again.fingerprints == data.fingerprints
    np.testing.assert_array_equal(again.truth.boxes_M4, data.truth.boxes_M4)
    with pytest.raises(UsageError, match="makes its own files"):
        opened("phantom_lesion", {**node, "root": "x"}).prepare()
