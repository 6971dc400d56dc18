"""Detection data in a few lines, as several tests use them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.repository import data_option

Box = Sequence[float]  # x, y, width, height


def option(name: str, **changes: Any) -> dict[str, Any]:
    """A packaged data option as the command would have it."""
    return data_option(name) | {"num_workers": 0, "batch_size": 4} | changes


def picture(path: Path, boxes: Sequence[Box] = (), size: tuple[int, int] = (40, 60), deep: bool = False) -> None:
    """Grey noise that depends on the file's name, bright where boxes are."""
    draw = np.random.default_rng(sum(path.name.encode()))
    pixels = draw.uniform(0.2, 0.3, size)
    for x, y, w, h in boxes:
        pixels[round(y) : round(y + h), round(x) : round(x + w)] = 0.9
    stored = np.rint(pixels * 4095).astype(np.uint16) if deep else np.rint(pixels * 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored).save(path)


def make_coco(root: Path, images: Mapping[str, Sequence[tuple[str, Box]]], **picture_options: Any) -> Path:
    """annotations.json and pictures from {name: [(class, box)]}; a name 'p1_0.png' is of patient p1."""
    names = sorted({label for boxes in images.values() for label, _ in boxes})
    content: dict[str, Any] = {
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
        "images": [],
        "annotations": [],
    }
    for number, (name, boxes) in enumerate(images.items(), start=1):
        picture(root / "images" / name, [box for _, box in boxes], **picture_options)
        content["images"].append({"id": number, "file_name": name, "patient": name.split("_")[0]})
        content["annotations"] += [
            {
                "id": len(content["annotations"]) + n,
                "image_id": number,
                "category_id": names.index(label) + 1,
                "bbox": box,
            }
            for n, (label, box) in enumerate(boxes, start=1)
        ]
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def forty() -> dict[str, list[tuple[str, Box]]]:
    """Forty images of twenty patients; every second has boxes, of one class or two."""
    found: dict[str, list[tuple[str, Box]]] = {}
    for n in range(40):
        boxes: list[tuple[str, Box]] = [("mass", [10, 5 + n % 5, 12, 10])] if n % 2 else []
        boxes += [("nodule", [40, 20, 6, 6.5])] if n % 4 == 3 else []
        found[f"p{n // 2:02d}_{n % 2}.png"] = boxes
    return found
