"""The imbalance table: counts by hand, absent and unknown labels in sight."""

import io

import numpy as np
from rich.console import Console

from medtrain.report import imbalance, imbalance_table
from medtrain.target import DataSpec

NAN = np.nan


def printed(spec, found):
    console = Console(file=io.StringIO(), width=80)
    console.print(imbalance_table(spec, found))
    return console.file.getvalue()


def test_the_published_example():
    spec = DataSpec.of("multiclass", ("a", "b", "c", "d"), 1)
    targets = np.repeat([0, 1, 2, 3], [9500, 300, 150, 50])
    found = imbalance(spec, targets, np.arange(10_000) // 2, np.full(10_000, "train"))["train"]
    assert [row["factor"] for row in found.values()] == [1.0, 31.7, 63.3, 190.0]
    assert [row["images"] for row in found.values()] == [9500, 300, 150, 50]
    assert [row["patients"] for row in found.values()] == [4750, 150, 75, 25]
    assert [row["percent"] for row in found.values()] == [95, 3, 1.5, 0.5]
    assert found["d"]["weight"] == 50 and found["d"]["unknown"] == 0  # 10,000 / (4 x 50)
    assert "190.0" in printed(spec, {"train": found})


def test_multilabel_counts_what_is_known_only():
    spec = DataSpec.of("multilabel", ("u", "v"), 1)
    targets = np.array([[1, 0], [0, 0], [NAN, 0], [0, NAN], [1, 1], [1, 1]])
    patients, splits = np.array(list("aabbcc")), np.array(["train"] * 5 + ["val"])
    found = imbalance(spec, targets, patients, splits)
    row = {"images": 2, "patients": 2, "negatives": 2, "unknown": 1, "percent": 50.0, "factor": 1.0, "weight": 1.0}
    assert found["train"]["u"] == row
    row = {"images": 1, "patients": 1, "negatives": 3, "unknown": 1, "percent": 25.0, "factor": 3.0, "weight": 3.0}
    assert found["train"]["v"] == row
    assert found["val"]["u"]["factor"] is None  # no negative to compare with
    text = printed(spec, found)
    assert "unknown" in text and "not" in text and "2 (2)" in text


def test_an_absent_class_is_shown():
    spec = DataSpec.of("multiclass", ("a", "b", "c"), 1)
    found = imbalance(spec, np.array([0, 0, 1, -1]), np.arange(4), np.array(["train"] * 4))
    assert found["train"]["c"]["images"] == 0 and found["train"]["c"]["factor"] is None
    assert found["train"]["a"]["unknown"] == 1 and found["train"]["a"]["percent"] == 66.67
    assert "0 (0)" in printed(spec, found) and "n/a" in printed(spec, found)


def test_long_lists_are_cut_and_markup_is_text():
    names = tuple(f"[b]{i}" for i in range(30))
    found = imbalance(DataSpec.of("multiclass", names, 1), np.arange(30), np.arange(30), np.full(30, "train"))
    text = printed(DataSpec.of("multiclass", names, 1), found)
    assert "[b]19" in text and "[b]20" not in text and "30 classes in all" in text


def test_data_without_a_training_split_have_a_table() -> None:
    spec = DataSpec.of("binary", ("0", "1"), 1, (8, 8))
    found = imbalance(spec, np.array([0.0, 1.0, 1.0]), np.array(["a", "b", "c"]), np.array(["test"] * 3))
    table = imbalance_table(spec, found)
    assert [column.header for column in table.columns] == ["class", "test", "%", "factor", "weight"]
