"""Curves and pictures of a detection run, from its files alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medtrain.report import on_film, over_film, write_box_pictures, write_report
from medtrain.report.box_pictures import chosen


def run_folder(folder: Path) -> Path:
    """Four images: one found, one missed, one with a false alarm, one with nothing."""
    images = [{"id": i, "file_name": f"{i}<b>.png", "patient": "p", "height": 50, "width": 100} for i in range(4)]
    marked = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [10.0, 10, 20, 20], "area": 400.0, "iscrowd": 0}
        for i in (0, 1)
    ]
    said = [{"image_id": i, "category_id": 1, "bbox": [10.0, 10, 20, 20], "score": 0.9} for i in (0, 2)]
    rate = {"value": 0.5, "ci95": [0.2, 0.8]}
    test = {
        "split": "test", "n_cases": 4, "n_patients": 1, "iou": 0.5, "metrics": {"map50": rate, "froc_1": rate},
        "per_class": {"nodule": {"map50": rate}}, "decision": {"policy": "f1", "thresholds": {"nodule": 0.5}},
    }  # fmt: skip
    spec = {"label_kind": "boxes", "classes": ["nodule"], "channels": 1}
    files = {
        "run.json": {"spec": spec},
        "test_metrics.json": test,
        "test_truth.json": {"images": images, "annotations": marked, "categories": [{"id": 1, "name": "nodule"}]},
        "test_predictions.json": said,
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def films(cases: Sequence[str]) -> np.ndarray:
    return np.full((len(cases), 1, 32, 64), 80, np.uint8)


def test_curves_pictures_and_page(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    places = {f"{i}<b>.png": np.array([0.64, 0.64, 0, 0]) for i in range(4)}
    write_box_pictures(run, films, places, 12)
    table = pd.read_csv(run / "pictures" / "pictures.csv")
    assert dict(zip(table["case"], table["why"], strict=True)) == {
        "1<b>.png": "worst", "2<b>.png": "worst", "0<b>.png": "best", "3<b>.png": "random",
    }  # fmt: skip
    page = write_report(run).read_text()
    assert (run / "plots" / "froc.png").is_file() and (run / "plots" / "box_precision_recall.png").is_file()
    assert "A box is shown from this score on: nodule 0.500" in page and "found 1, missed 0, false 0" in page
    assert "1<b>" not in page  # names are escaped
    write_box_pictures(run, films, places, 0)
    assert not (run / "pictures").exists()


def test_a_third_each() -> None:
    table = pd.DataFrame({"image": range(12), "found": [1] * 8 + [0] * 4, "missed": 0, "false": [2, 1] + [0] * 10})
    picked = chosen(table, 6)
    assert picked["why"].tolist() == ["worst", "worst", "best", "best", "random", "random"]
    assert picked["image"].tolist()[:4] == [0, 1, 2, 3] and picked["image"].is_unique


def test_boxes_are_drawn_where_they_are() -> None:
    at = on_film(np.array([[20.0, 10, 40, 30]]), np.array([0.5, 0.5, 4, 0]))
    assert at.tolist() == [[14, 5, 24, 15]]
    drawn = np.asarray(over_film(np.zeros((1, 64, 512), np.uint16), [(at, [""], "#ffffff")]))
    assert drawn.shape == (64, 512, 3)
    rows, columns = drawn[..., 0].nonzero()
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (14, 5, 24, 15)
