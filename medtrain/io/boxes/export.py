"""Boxes as the tools read them that people correct boxes in: YOLO, Pascal VOC, CVAT and Label Studio."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import yaml

from medtrain.core.errors import UsageError
from medtrain.io.files import write_json, write_text

Edges = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the file


@dataclass(frozen=True)
class Marked:
    """An image with its boxes.

    Args:
        name: of the case, as results have it; stem: a file name without ending, like no other.
        path: of the picture; size: (height, width).
        boxes: class, edges and score of each.
    """

    name: str
    stem: str
    path: Path
    size: tuple[int, int]
    boxes: Sequence[tuple[str, Edges, float]]


def write_yolo(folder: Path, images: Sequence[Marked], classes: Sequence[str]) -> None:
    """Write data.yaml, copies of the images and a label file each: lines ``class x y width height`` in shares."""
    for image in images:
        height, width = image.size
        lines = []
        for label, (x0, y0, x1, y1), _ in image.boxes:
            shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
            lines.append(f"{classes.index(label)} {' '.join(f'{share:.8f}' for share in shares)}\n")
        _copy(image, folder / "images")
        write_text(folder / "labels" / f"{image.stem}.txt", "".join(lines))
    content = {"path": ".", "train": "images", "names": dict(enumerate(classes))}
    write_text(folder / "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def write_voc(folder: Path, images: Sequence[Marked], classes: Sequence[str]) -> None:
    """Write Annotations, an XML an image with corners in hundredths of a pixel, and copies in JPEGImages."""
    for image in images:
        file = _copy(image, folder / "JPEGImages")
        root = ElementTree.Element("annotation")
        _texts(root, folder="JPEGImages", filename=file.name)
        _texts(ElementTree.SubElement(root, "size"), width=image.size[1], height=image.size[0])
        for label, edges, _ in image.boxes:
            item = ElementTree.SubElement(root, "object")
            _texts(item, name=label, pose="Unspecified", truncated=0, difficult=0)
            corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), map(_pixels, edges), strict=True))
            _texts(ElementTree.SubElement(item, "bndbox"), **corners)
        _write_xml(folder / "Annotations" / f"{image.stem}.xml", root)


def write_cvat(file: Path, images: Sequence[Marked], classes: Sequence[str]) -> None:
    """Write "CVAT for images 1.1": one XML, whose images are called as results call them."""
    root = ElementTree.Element("annotations")
    _texts(root, version="1.1")
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    for name in classes:
        _texts(ElementTree.SubElement(labels, "label"), name=name)
    for number, image in enumerate(images):
        height, width = map(str, image.size)
        node = ElementTree.SubElement(root, "image", id=str(number), name=image.name, width=width, height=height)
        for label, edges, _ in image.boxes:
            corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(_pixels, edges), strict=True))
            more = {"label": label, "source": "auto", "occluded": "0", "z_order": "0"}
            ElementTree.SubElement(node, "box", more | corners)
    _write_xml(file, root)


def write_label_studio(file: Path, images: Sequence[Marked], classes: Sequence[str]) -> None:
    """Write Label Studio's JSON: a task an image with boxes in percent, for `<RectangleLabels name="label">`."""
    write_json(file, [_label_studio_task(image) for image in images])


def _label_studio_task(image: Marked) -> dict[str, Any]:
    height, width = image.size
    rows = [
        {
            "id": f"box{number}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": score,
            "value": {
                "x": 100 * x0 / width,
                "y": 100 * y0 / height,
                "width": 100 * (x1 - x0) / width,
                "height": 100 * (y1 - y0) / height,
                "rotation": 0,
                "rectanglelabels": [label],
            },
        }
        for number, (label, (x0, y0, x1, y1), score) in enumerate(image.boxes, start=1)
    ]
    mean = sum(score for *_, score in image.boxes) / max(1, len(image.boxes))
    predictions = [{"model_version": "medtrain", "score": mean, "result": rows}]
    return {"data": {"image": f"/data/local-files/?d={quote(image.name)}"}, "predictions": predictions}


Writer = Callable[[Path, Sequence[Marked], Sequence[str]], None]
FOLDERS: dict[str, Writer] = {"yolo": write_yolo, "voc": write_voc}
FILES: dict[str, Writer] = {"cvat": write_cvat, "label_studio": write_label_studio}


def check_output(form: str, output: Path) -> None:
    """Refuse an unknown format, and a folder's name that is taken (UsageError)."""
    if form not in FOLDERS | FILES:
        raise UsageError(f"format={form} is none of coco, {', '.join(FOLDERS | FILES)}")
    if form in FOLDERS and (output.is_file() or (output.is_dir() and any(output.iterdir()))):
        raise UsageError(f"output={output} is there already: format={form} writes a folder, so name a new one")
    if form in FILES and output.is_dir():
        raise UsageError(f"output={output} is a folder: format={form} writes a file, so name one")


def _copy(image: Marked, folder: Path) -> Path:
    file = folder / f"{image.stem}{image.path.suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image.path, file)
    return file


def _pixels(edge: float) -> str:
    return f"{edge:.2f}"


def _texts(node: ElementTree.Element, **values: str | int) -> None:
    for name, value in values.items():
        ElementTree.SubElement(node, name).text = str(value)


def _write_xml(file: Path, root: ElementTree.Element) -> None:
    ElementTree.indent(root)
    write_text(file, ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n")
