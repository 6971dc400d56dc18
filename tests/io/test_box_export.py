"""Boxes written for tools of correction, read back: by medtrain's readers, and by what the formats' pages say."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import UsageError
from medtrain.io.boxes.export import FILES, FOLDERS, Marked, check_output
from medtrain.io.boxes.voc import read_voc
from medtrain.io.boxes.yolo import read_yolo

CLASSES = ("mass", "a <class> & 'more', ü")


@pytest.fixture
def images(tmp_path: Path) -> list[Marked]:
    """Three images of other sizes with boxes at odd places; the last has none."""
    draw, marked = np.random.default_rng(3), []
    for number, (height, width) in enumerate([(333, 500), (1001, 77), (40, 60)]):
        path = tmp_path / f"i{number}.png"
        Image.fromarray(draw.integers(0, 255, (height, width), np.uint8)).save(path)
        corners = np.sort(draw.uniform(0, 1, (4 * (number < 2), 2, 2)), axis=1) * [width, height]
        boxes = [(CLASSES[i % 2], tuple(map(float, box.ravel())), 0.5 + i / 10) for i, box in enumerate(corners)]
        marked.append(Marked(f"sub folder/i{number}.png", f"i{number}", path, (height, width), boxes))
    return marked


def same(read: list[tuple[str, list[float]]], image: Marked) -> None:
    assert [label for label, _ in read] == [label for label, *_ in image.boxes]
    for (_, edges), (_, box, _) in zip(read, image.boxes, strict=True):
        np.testing.assert_allclose(edges, box, atol=0.01)


def test_yolo_is_read_back(images: list[Marked], tmp_path: Path) -> None:
    FOLDERS["yolo"](tmp_path / "out", images, CLASSES)
    read = read_yolo(tmp_path / "out")
    assert tuple(read.classes) == CLASSES and not read.bad and len(read) == 3
    for number, image in enumerate(images):
        scale = np.array([image.size[1], image.size[0]] * 2)
        same([(read.label[i], read.box[i] * scale) for i, of in enumerate(read.image) if of == number], image)


def test_voc_is_read_back(images: list[Marked], tmp_path: Path) -> None:
    FOLDERS["voc"](tmp_path / "out", images, CLASSES)
    read = read_voc(tmp_path / "out")
    assert not read.bad and read.size == [image.size for image in images]
    for number, image in enumerate(images):
        same([(read.label[i], list(read.box[i])) for i, of in enumerate(read.image) if of == number], image)


def test_cvat_has_corners_in_pixels(images: list[Marked], tmp_path: Path) -> None:
    FILES["cvat"](tmp_path / "out.xml", images, CLASSES)
    root = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [node.text for node in root.findall("meta/task/labels/label/name")] == list(CLASSES)
    for node, image in zip(root.findall("image"), images, strict=True):
        assert (node.get("name"), node.get("width"), node.get("height")) == (
            image.name, str(image.size[1]), str(image.size[0]),
        )  # fmt: skip
        corners = [[float(box.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr")] for box in node.findall("box")]
        same(list(zip([box.get("label", "") for box in node.findall("box")], corners, strict=True)), image)


def test_label_studio_has_percent(images: list[Marked], tmp_path: Path) -> None:
    FILES["label_studio"](tmp_path / "out.json", images, CLASSES)
    for entry, image in zip(json.loads((tmp_path / "out.json").read_text()), images, strict=True):
        assert entry["data"]["image"] == f"/data/local-files/?d=sub%20folder/{image.stem}.png"
        rows = []
        for result in entry["predictions"][0]["result"]:
            value, width, height = result["value"], result["original_width"], result["original_height"]
            assert result["type"] == "rectanglelabels" and (height, width) == image.size
            x, y = value["x"] * width / 100, value["y"] * height / 100
            edges = [x, y, x + value["width"] * width / 100, y + value["height"] * height / 100]
            rows.append((value["rectanglelabels"][0], edges))
        same(rows, image)


def test_what_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="format=xml is none of coco, yolo, voc, cvat, label_studio"):
        check_output("xml", tmp_path / "new")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(UsageError, match="is there already"):
            check_output("yolo", taken)
    with pytest.raises(UsageError, match="is a folder"):
        check_output("cvat", tmp_path)
    check_output("voc", tmp_path / "new")
