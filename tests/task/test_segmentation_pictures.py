"""Pictures of a judged folder, and of explain, from a data set whose masks are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.data.batches.masks import MaskData
from medtrain.explain.names import names_of_maps
from medtrain.io.own_grid import write_on_own
from medtrain.target import Decision
from medtrain.target.mask import MaskTarget
from medtrain.task.explanation import Request
from medtrain.task.segmentation.pictures import classes_of_file, draw_cases, explain_masks
from tests.segmentations import halved_balls, segmentation


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return halved_balls(tmp_path_factory.mktemp("balls"), count=12)


def opened(table: Path) -> MaskData:
    data = MaskData(segmentation(table, classes=["left", "right"]), report=lambda text: None)
    data.prepare()
    return data


def test_a_judged_folder_gets_pictures_of_its_label_maps(table: Path, tmp_path: Path) -> None:
    data = opened(table)
    rows = []
    for row in data.rows("test").tolist() + data.rows("val").tolist():
        own, name = data.own_case(row).images[0], f"masks/{row}.nii.gz"
        (tmp_path / "masks").mkdir(exist_ok=True)
        write_on_own(data.own_truth(row).astype(np.uint16), own, data.cases["path"].iloc[row], tmp_path / name)
        rows.append({"case": data.cases["case"].iloc[row], "mask": name, "dice_left": 1 - 0.1 * row, "dice_right": 1.0})
    pd.DataFrame(rows).to_csv(tmp_path / "test_predictions.csv", index=False)
    draw_cases(tmp_path, data, data.target, 3)
    listed = pd.read_csv(tmp_path / "pictures" / "pictures.csv")
    assert listed["why"].tolist() == ["worst", "median", "best"][: len(listed)] and len(listed) == min(3, len(rows))
    assert listed["case"].iloc[0] == min(rows, key=lambda row: row["dice_left"])["case"]
    draw_cases(tmp_path, data, data.target, 0)
    assert not (tmp_path / "pictures").exists()


def test_label_maps_are_read_as_they_were_written() -> None:
    label = np.array([0, 1, 2, 4])
    plain = MaskTarget(("a", "b"), ("a", "b"), (1, 4))
    assert [mask.tolist() for mask in classes_of_file(label, plain)] == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert [mask.tolist() for mask in plain.classes_in(np.array([-1, 0, 1, 2]))] == [[0, 0, 1, 0], [0, 0, 0, 1]]
    nested = MaskTarget(("whole", "core"), ("a", "b"), (), ((1, 2), (2,)))
    assert [mask.tolist() for mask in classes_of_file(np.array([0, 1, 2]), nested)] == [[0, 1, 1], [0, 0, 1]]


def test_explain_gives_a_picture_and_volumes_of_each_case(table: Path, tmp_path: Path) -> None:
    trained = opened(table)
    data = MaskData.for_inputs(segmentation(table), trained.spec, table.parent / "0.nii.gz")

    def on_own(probs: Any, spacing: Any, image: Any) -> tuple[None, list[np.ndarray]]:
        marked = np.zeros(image.shape[1:], bool)
        marked[2:4, 5:10, 5:10] = True
        return None, [marked, ~marked]

    task = SimpleNamespace(
        probabilities=lambda row, mirrored: (np.full((3, 2, 2, 2), 0.25), (1.0, 1.0, 1.0)), mirrored=(), on_own=on_own
    )
    request = Request(data, data.cfg, Decision(0.5, 1.0, {}), tmp_path, torch.device("cpu"))
    rows = explain_masks(task, request).rows
    assert [row["class"] for row in rows] == ["left", "right"] and rows[0]["volume_ml"] == pytest.approx(0.075)
    assert rows[1]["prob"] == 0.25
    assert (tmp_path / rows[0]["picture"]).is_file()


def test_label_maps_of_two_cases_are_two_files() -> None:
    cases = pd.DataFrame({"case": ["a/b.nii.gz", "a_b.nii", "A_B", "c"]})
    assert names_of_maps(cases["case"]) == ["a_b.nii.gz", "a_b_2.nii.gz", "A_B_3.nii.gz", "c.nii.gz"]
