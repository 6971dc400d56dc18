"""inspect on boxes: sizes as the network sees them, small ones, several readers, drawn pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.inspection import Inspection, inspect_data
from medtrain.report.box_facts import box_tables
from tests.data.boxes import forty, make_coco, option
from tests.data.tables import opened


def inspect(root: Path, **changes: Any) -> Inspection:
    cfg = option("coco", **{"root": str(root), "cache_dir": str(root / "cache"), "image_size": 60, **changes})
    found: Inspection = inspect_data(opened("coco", cfg, report=str), near=False)
    return found


def said(found: Inspection) -> dict[str, str]:
    return {f"{f.problem.severity} {f.problem.kind}": str(f.problem) for f in found.findings}


def test_sizes_counts_and_small_boxes(tmp_path: Path) -> None:
    found = inspect(make_coco(tmp_path, forty()))
    facts = found.images["boxes"]
    assert facts["total"] == 30 and facts["images_without"] == 20
    assert facts["classes"]["mass"] == {"boxes": 20, "images": 20, "patients": 20}
    assert facts["side_px"] == {"0 to 8": 10, "8 to 16": 20} | dict.fromkeys(
        ("16 to 32", "32 to 64", "64 to 96", "96 and more"), 0
    )
    assert facts["anchor_recall"].keys() == {"0 to 8", "8 to 16"}
    text = said(found)["warning tiny_boxes"]
    assert "10 of 30 boxes are less than 8 pixels wide or high at data.image_size=60, the smallest 6.0" in text
    assert "data.image_size=96 would" in text
    larger = inspect(tmp_path, image_size=96)
    assert "warning tiny_boxes" not in said(larger) and larger.images["boxes"]["side_px"]["0 to 8"] == 0
    assert [table.row_count for table in box_tables(facts)] == [3, 6]


def test_boxes_are_drawn_on_the_pictures(tmp_path: Path) -> None:
    found = inspect(make_coco(tmp_path, forty()))
    with_box, without = found.picture(1), found.picture(0)
    assert with_box is not None and without is not None and with_box.shape == (3, 60, 60)
    assert (without[0] == without[2]).all() and not (with_box[0] == with_box[2]).all()
    rows, columns = np.nonzero(with_box[0] != with_box[2])
    assert (columns.min(), columns.max(), rows.min() - 10) == (10, 22, 6)  # 10 px of padding above


def test_another_unit_and_several_readers(tmp_path: Path) -> None:
    root = make_coco(tmp_path, forty())
    content = json.loads((root / "annotations.json").read_text())
    again = content["annotations"][0]
    content["annotations"].append({**again, "id": 99, "bbox": [again["bbox"][0] + 1, *again["bbox"][1:]]})
    (root / "annotations.json").write_text(json.dumps(content))
    assert "1 images have boxes of one class that overlap" in said(inspect(root))["note overlapping_boxes"]
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x, y, x + w, y + h]
    (root / "annotations.json").write_text(json.dumps(content))
    found = inspect(root)
    assert "x_min, y_min, x_max, y_max, where x, y, width, height are wanted" in said(found)["error box_unit"]


def test_no_negatives_is_noted(tmp_path: Path) -> None:
    found = inspect(make_coco(tmp_path, {name: boxes for name, boxes in forty().items() if boxes}))
    assert "note no_negatives" in said(found)


def test_advice_on_size_where_images_are_not_enlarged(tmp_path: Path) -> None:
    root = make_coco(tmp_path, forty())  # 60 x 40 pixels, boxes of 12 x 10 and 6 x 6.5
    assert "data.image_size=96 with data.fit=pad, which enlarges images (1 in 20 is up to 6.0 pixels" in (
        said(inspect(root, fit="shrink", image_size=64))["warning tiny_boxes"].replace("data.image_size=64, ", "")
    )
    small = {name: [box for box in boxes if box[0] == "mass"] for name, boxes in forty().items()}
    found = inspect(make_coco(tmp_path / "small", small), fit="shrink", image_size=32)
    text = said(found)["warning tiny_boxes"]
    assert "data.image_size=64 would leave 1 in 20" in text and "fit=pad" not in text
    assert "warning tiny_boxes" not in said(inspect(tmp_path / "small", fit="shrink", image_size=64))
