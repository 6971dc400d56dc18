"""Columns for eval.groups: the user's own, as written; refused where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import UsageError
from medtrain.data.batches.images import ImageData
from medtrain.data.rows.groups import BLANK
from tests.data.tables import config, opened

SITES = {"hospital": [f"h{n % 3}" for n in range(40)], "code": [f"0{n % 2}" if n else "" for n in range(40)]}


def test_cells_stay_as_written(make: Callable[..., ImageData]) -> None:
    data = make(columns=SITES, groups=["code", "hospital", "code"])
    data.prepare()
    assert list(data.groups) == ["code", "hospital"] and len(data.groups) == len(data.cases)
    rows = [int(case.removesuffix(".png")) for case in data.cases["case"]]
    assert list(data.groups["code"]) == [f"0{n % 2}" if n else BLANK for n in rows]  # not 0 and 1
    assert list(data.groups["hospital"]) == [f"h{n % 3}" for n in rows]


def test_groups_follow_the_rows_that_are_left(make: Callable[..., ImageData], tmp_path: Path) -> None:
    data = make({"on_bad": "skip"}, columns=SITES, groups=["hospital"])
    (tmp_path / "0.png").write_bytes(b"no picture")
    data.prepare()
    rows = [int(case.removesuffix(".png")) for case in data.cases["case"]]
    assert len(rows) == 39 and list(data.groups["hospital"]) == [f"h{n % 3}" for n in rows]


def test_site_is_the_column_that_is_named_as_such(make: Callable[..., ImageData]) -> None:
    data = make(columns=SITES, groups=["site"])
    data.prepare()  # found by its usual name
    assert set(data.groups["site"]) == {"h0", "h1", "h2"}
    data = make({"columns": {"site": "code"}}, columns=SITES, groups=["site"])
    data.prepare()
    assert set(data.groups["site"]) == {"00", "01", BLANK}


def test_a_wrong_name_is_told_with_the_right_ones_before_decoding(make: Callable[..., ImageData]) -> None:
    data = make(columns=SITES, groups=["hospitl", "view"])
    with pytest.raises(UsageError) as caught:
        data.prepare()
    text = str(caught.value)
    assert "'hospitl'; did you mean 'hospital'?" in text and "no column 'view'" in text
    assert "path, label, patient, hospital, code" in text and data.decoded == 0


def test_many_values_are_no_groups(make: Callable[..., ImageData]) -> None:
    data = make(columns={"age": list(range(20, 60))}, groups=["age"])
    with pytest.raises(UsageError, match=r"'age' has 40 values.*column of ranges"):
        data.prepare()


def test_without_a_table_there_are_no_columns(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "films" / name).mkdir(parents=True)
        for n in range(12):
            pixels = np.random.default_rng(n + 100 * (name == "b")).integers(0, 256, (8, 8))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "films" / name / f"{n}.png")
    file, draw = tmp_path / "small.npz", np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 6), ("val", 4), ("test", 4)):
        arrays[f"{split}_images"] = draw.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 2)[:, None]
    np.savez(file, **arrays)
    cache = {"cache_dir": str(tmp_path / "cache"), "positive": "b"}
    folder = opened(
        "image_folder", config() | cache | {"root": str(tmp_path / "films"), "image_size": 8}, groups=["label"]
    )
    pictures = opened("medmnist", config() | cache | {"file": str(file), "positive": None}, groups=["label"])
    for data in (folder, pictures):
        with pytest.raises(UsageError, match=r"eval\.groups=\[label\]: these data come without a table"):
            data.prepare()


def test_a_word_that_may_be_an_answer_is_a_group(make: Callable[..., ImageData]) -> None:
    smoker = [("none", "former", "", "NA")[n % 4] for n in range(40)]
    data = make(columns={"smoker": smoker}, groups=["smoker"])
    data.prepare()
    assert data.groups["smoker"].value_counts().to_dict() == {"none": 10, "former": 10, BLANK: 20}
