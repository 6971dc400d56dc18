"""Other people's names for our classes, the classes they lack, and the labels that no model of ours knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrain.core.errors import DataError, UsageError
from medtrain.data.base import Fixed
from medtrain.data.rows.label_map import directed
from medtrain.target import DataSpec
from tests.data.tables import opened, read, write_images

CHEST = DataSpec.of("multilabel", ("Cardiomegaly", "Pleural Effusion", "Edema"), 1, (8, 8))
BINARY = DataSpec.of("binary", ("0", "1"), 1, (8, 8))
NIH = (
    "Image Index,Finding Labels,Patient ID\n0.png,Effusion|Cardiomegaly,1\n1.png,No Finding,2\n2.png,Mass|Effusion,3\n"
)
CHEXPERT = "Path,Cardiomegaly,Effusion\n0.png,1,0\n1.png,,-1\n2.png,0,1\n"


THEIRS_OURS = {"Effusion": "Pleural Effusion"}
OURS_THEIRS = {"Pleural Effusion": "Effusion"}


@pytest.mark.parametrize("label_map", [THEIRS_OURS, OURS_THEIRS])
def test_lists(images: Path, label_map: dict[str, str]) -> None:
    """Edema never stands in the table: unknown. Mass is no class of the model: it counts nowhere, and is told."""
    manifest = read(images, NIH, CHEST, label_map=label_map)
    np.testing.assert_array_equal(manifest.targets, [[1, 1, np.nan], [0, 0, np.nan], [0, 1, np.nan]])
    assert not manifest.bad and manifest.target.classes == CHEST.classes
    told = {problem.kind: problem.detail for problem in manifest.warnings}
    assert told["class_lacking"].startswith("Edema: not in this table") and "'Mass' (1 rows)" in told["label_beyond"]
    assert manifest.raw.typed["Finding Labels"].iloc[0] == "Effusion|Cardiomegaly"  # the user's table is shown as it is


@pytest.mark.parametrize("label_map", [THEIRS_OURS, OURS_THEIRS])
@pytest.mark.parametrize("columns", [{}, {"label": ["Effusion", "Cardiomegaly"]}])
def test_one_column_a_class(images: Path, label_map: dict[str, str], columns: dict[str, Any]) -> None:
    manifest = read(images, CHEXPERT, CHEST, label_map=label_map, columns=columns, filter="Effusion >= -1")
    np.testing.assert_array_equal(manifest.targets, [[1, 0, np.nan], [np.nan, np.nan, np.nan], [0, 1, np.nan]])
    assert [problem.kind for problem in manifest.warnings if "Edema" in problem.detail] == ["class_lacking"]


@pytest.mark.parametrize("label_map", [{"benign": 0, "malignant": 1}, {0: "benign", 1: "malignant"}])
def test_values(images: Path, label_map: dict[Any, Any]) -> None:
    text = "path,label\n0.png,malignant\n1.png,benign\n2.png,malignant\n"
    assert read(images, text, BINARY, label_map=label_map).targets.tolist() == [1, 0, 1]


def test_several_names_of_theirs_are_one_of_ours(images: Path) -> None:
    text = "path,label\n0.png,mild\n1.png,none\n2.png,severe\n"
    assert read(images, text, BINARY, label_map={"mild": 1, "severe": 1, "none": 0}).targets.tolist() == [1, 0, 1]
    lists = "path,label\n0.png,Mass|Nodule\n1.png,Edema\n"
    spec = DataSpec.of("multilabel", ("Lesion", "Edema"), 1, (8, 8))
    found = read(images, lists, spec, label_map={"Mass": "Lesion", "Nodule": "Lesion"})
    assert found.targets.tolist() == [[1, 0], [0, 1]]


def test_in_training_any_name_will_do(images: Path) -> None:
    text = "path,label\n0.png,mild\n1.png,none\n2.png,severe\n"
    manifest = read(images, text, label_map={"mild": "sick", "severe": "sick", "none": "well"}, positive="sick")
    assert manifest.target.classes == ("well", "sick") and manifest.targets.tolist() == [1, 0, 1]


def test_a_folder_of_classes(tmp_path: Path) -> None:
    for n, name in enumerate(("Normal", "PNEUMONIA")):
        (tmp_path / name).mkdir()
        write_images(tmp_path / name, 2, seed=n)
    cfg = {"root": str(tmp_path), "label_map": {"PNEUMONIA": "1", "Normal": "0"}, "image_size": 8}
    cfg["cache_dir"] = str(tmp_path / "cache")
    data = opened("image_folder", cfg, fixed=Fixed(BINARY, all_test=True), report=lambda _: None)
    data.prepare()
    assert data.targets.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "spec", "label_map", "said"),
    [
        (NIH, CHEST, {"Efusion": "Pleural Effusion"}, "'Efusion' is no label of table.csv; did you mean 'Effusion'?"),
        (NIH, CHEST, {"Effusion": "Pleural Efusion"}, "none of the classes; did you mean 'Pleural Effusion'?"),
        (CHEXPERT, CHEST, {"Efusion": "Pleural Effusion"}, "'Efusion' is no label of table.csv; did you mean"),
        (NIH, None, {"Efusion": "Pleural Effusion"}, "'Efusion' is no label of table.csv"),
        ("path,label\n0.png,a\n", BINARY, {"a": 2}, "'2' is none of the classes; there are: 0, 1"),
        (
            "path,Mass,Effusion,Edema\n0.png,1,0,1\n",
            CHEST,
            {"Mass": "Edema"},
            "would have several columns called Edema",
        ),
    ],
)
def test_names_known_to_nobody_are_refused(
    images: Path, text: str, spec: DataSpec | None, label_map: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as error:
        read(images, text, spec, label_map=label_map)
    assert said in str(error.value) and str(error.value).startswith("data.label_map")


def test_the_written_direction_counts_where_both_make_sense() -> None:
    """Names that are swapped stand on both sides."""
    assert directed({"a": "b"}, ["a", "b"], ["a", "b"], "t") == {"a": "b"}
    assert directed({"a": "b", "b": "a"}, ["a", "b"], ["a", "b"], "t") == {"a": "b", "b": "a"}
    assert directed({"a": "b"}, ["b", "c"], ["a"], "t") == {"b": "a"}
    assert directed({"Normal": "No Finding"}, ["Normal"], ["a"], "t") == {"Normal": "No Finding"}


def test_labels_beyond_a_models_classes_are_all_named(images: Path) -> None:
    text = "path,label\n0.png,0\n1.png,2\n2.png,3\n3.png,2\n"
    with pytest.raises(DataError) as error:
        read(images, text, BINARY)
    assert "'2' (2 rows), '3' (1 rows)" in str(error.value) and "data.on_bad=skip" in str(error.value)
    assert [row for row, _ in read(images, text, BINARY, on_bad="skip").bad] == [1, 2, 3]


def test_a_table_with_one_of_the_classes_is_fine(images: Path) -> None:
    manifest = read(images, "path,label\n0.png,1\n1.png,1\n", BINARY)
    assert manifest.targets.tolist() == [1, 1] and not manifest.bad


def test_a_table_of_nothing_that_the_model_knows(images: Path) -> None:
    with pytest.raises(DataError, match=r"names none of the model's classes; it has 'Mass' \(1 rows\)"):
        read(images, "path,label\n0.png,Mass\n1.png,No Finding\n", CHEST)
