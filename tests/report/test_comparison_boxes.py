"""Detectors side by side: paired over patients, on the images that both have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrain.core.errors import UsageError
from medtrain.report.compared import ComparedBoxes, ComparedRun, read_compared
from medtrain.report.comparison import compare

IMAGES = 40


def detector(
    folder: Path, share: float, alarms: int, images: int = IMAGES, seed: int = 0, turned: bool = False
) -> Path:
    """A run of one lesion an image, two images a patient, which finds a share of them and gives false alarms."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    names = [f"i{n}.png" for n in range(images)]
    truth: dict[str, Any] = {
        "images": [
            {"id": n + 1, "file_name": name, "patient": f"p{n // 2}", "height": 100, "width": 100}
            for n, name in enumerate(names)
        ],
        "annotations": [
            {"id": n + 1, "image_id": n + 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
            for n in range(images)
        ],
        "categories": [{"id": 1, "name": "lesion"}],
    }
    found = [
        {"image_id": n + 1, "category_id": 1, "bbox": [10, 10, 20, 20 - n % 3], "score": 0.9}
        for n in range(images)
        if rng.random() < share
    ]
    found += [
        {"image_id": int(rng.integers(images)) + 1, "category_id": 1, "bbox": [60, 60, 20, 20], "score": 0.95}
        for _ in range(alarms)
    ]
    if turned:
        truth["annotations"][3]["bbox"] = [30, 10, 20, 20]
    decision = {"policy": 0.5, "temperature": 1.0, "thresholds": {"lesion": 0.5}}
    spec = {"label_kind": "boxes", "classes": ["lesion"], "channels": 1, "size": [100, 100]}
    for name, content in {
        "test_truth.json": truth,
        "test_predictions.json": found,
        "test_metrics.json": {"metrics": {"map": {"value": share, "ci95": None}}, "iou": 0.5, "decision": decision},
        "run.json": {"status": "finished", "verb": "train", "model": folder.name, "task": "lesion_det", "spec": spec},
    }.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def read(*folders: Path) -> list[ComparedRun]:
    runs = [read_compared(folder) for folder in folders]
    assert all(isinstance(run, ComparedBoxes) for run in runs)
    return runs  # type: ignore[return-value]


def test_map_and_cpm_are_compared_over_patients(tmp_path: Path) -> None:
    found = compare(read(detector(tmp_path / "good", 0.95, 2), detector(tmp_path / "poor", 0.4, 20)), bootstrap=200)
    (difference,) = found["differences"]
    assert found["metric"] == "map" and difference["n_cases"] == IMAGES and difference["n_patients"] == IMAGES // 2
    for name in ("map", "cpm", "sensitivity"):
        low, high = difference["metrics"][name]["ci95"]
        assert low <= difference["metrics"][name]["value"] <= high < 0
    assert found["says"][0].startswith("poor has a lower mAP than good by 0.")
    assert difference["metrics"]["map"]["p"] < 0.05 and difference["metrics"]["cpm"]["p"] is None
    json.dumps(found, allow_nan=False)


def test_the_difference_is_that_of_the_shares_found(tmp_path: Path) -> None:
    runs = read(detector(tmp_path / "one", 0.9, 0), detector(tmp_path / "two", 0.5, 0))
    found = compare(runs, metric="cpm", bootstrap=0)["differences"][0]["metrics"]
    counts = [len(json.loads((tmp_path / name / "test_predictions.json").read_text())) for name in ("one", "two")]
    for name in ("cpm", "sensitivity"):
        assert found[name]["value"] == pytest.approx((counts[1] - counts[0]) / IMAGES)


def test_images_that_one_lacks_are_left_out_and_told(tmp_path: Path) -> None:
    runs = read(detector(tmp_path / "all", 0.9, 0), detector(tmp_path / "part", 0.9, 0, images=20))
    found = compare(runs, bootstrap=50)
    assert found["differences"][0]["n_cases"] == 20 and "on the 20 they share" in found["notes"][0]
    assert found["differences"][0]["metrics"]["sensitivity"]["value"] == 0, "the same seed finds the same of the first"


def test_other_lesions_are_refused(tmp_path: Path) -> None:
    runs = read(detector(tmp_path / "one", 0.9, 0), detector(tmp_path / "two", 0.9, 0, turned=True))
    with pytest.raises(UsageError, match=r"other labels for 1 of 40 cases, i3\.png being the first"):
        compare(runs, bootstrap=20)
