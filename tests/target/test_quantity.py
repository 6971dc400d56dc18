"""Labels that measure, date or identify: refused, whatever source they come from, unless data.classes names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import UsageError
from medtrain.data.source import reader
from medtrain.io.table import Listing
from medtrain.target import Target
from medtrain.target.labels import read_labels
from medtrain.target.multiclass import Multiclass
from medtrain.target.quantity import refuse_quantities
from tests.data.boxes import option, picture


def labels_of(texts: list[str], model: Target | None = None, **named: object) -> Target:
    raw = Listing.of(Path("hands.csv"), {"y": texts}, [f"row {n}" for n in range(len(texts))])
    return read_labels(raw, "y", named.get("classes"), named.get("positive"), model).target  # type: ignore[arg-type]


def ages(number: int, cases: int) -> list[str]:
    """Ages in months, `cases` of each."""
    return [str(20 + 2 * n) for n in range(number) for _ in range(cases)]


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (ages(119, 100), "119 different numbers in 11,900 cases, more than 20"),
        (ages(21, 500), "21 different numbers in 10,500 cases, more than 20"),
        (ages(7, 4), "7 different numbers in 28 cases, the median one in 4, fewer than 5"),
        ([str(n) for n in range(6)] * 4, "the median one in 4"),  # a scale, but of more than 5 steps
        (["0", "1", "3"] * 3, "the median one in 3"),  # with a gap
        (["0.5", "1"] * 50, "not all of them whole (such as 0.5)"),
        (["12,5", "13", "14"] * 50, "not all of them whole (such as 12,5)"),
        (["1e-3", "2e-3"] * 50, "not all of them whole (such as 1e-3)"),
        (["-1.5", "0", "2"] * 50, "not all of them whole (such as -1.5)"),
        (["1.234,56", "2"] * 50, "not all of them whole"),
        (ages(30, 9) + [""] * 300, "30 different numbers in 270 cases"),  # blanks are no cases
        (ages(30, 9) + ["unknown"] * 20, "30 different numbers in 270 cases"),
        ([f"{n:03d}Y" for n in range(40)] * 9 + ["011M"] * 9, "41 different numbers"),  # DICOM's ages
        ([f"{n} mm" for n in range(30)] * 9, "30 different numbers"),
        ([f"{n}" for n in range(60)] * 9 + [">90"] * 5, "61 different numbers"),
        ([f"{n:05d}" for n in range(0, 4000, 100)] * 2, "40 different numbers"),  # identifiers
        ([f"patient {n}" for n in range(11)], "11 different texts in 11 cases, like names of the cases themselves"),
        ([f"P{n}" for n in range(40)] + ["P0"] * 30, "40 different texts in 70 cases"),
        (["2021-03-04", "2021-11-30"] * 50, "dates or times, such as '2021-03-04'"),
        (["04.03.2021", "30.11.2021", "01.01.2020"] * 50, "dates or times"),
        (["3/4/21", "11/30/21"] * 50, "dates or times"),
        (["2021-03-04T10:30", "2021-11-30 09:15:00"] * 9, "dates or times"),
        (["10:30", "09:15"] * 50, "dates or times"),
    ],
)
def test_what_is_no_class(texts: list[str], reason: str) -> None:
    with pytest.raises(UsageError) as error:
        labels_of(texts)
    assert reason in str(error.value) and "hands.csv: the labels in 'y' are no classes" in str(error.value)
    assert "data.classes=[" in str(error.value) and "data.columns.label" in str(error.value)


def test_names_with_commas_are_quoted_where_they_are_proposed() -> None:
    with pytest.raises(UsageError, match=r"data\.classes=\['0,5','1,5',2\]"):
        labels_of(["0,5", "1,5", "2"] * 50)


@pytest.mark.parametrize(
    "texts",
    [
        ["0", "1"] * 2,
        ["0.0", "1.0", "1.0"],
        ["0", "1", "2", "3", "4"],
        ["1", "2", "3", "4", "5"] * 3,
        ["4", "2", "1", "0", "3"] * 2,  # in whatever order
        ["6", "7", "8", "9", "10"] * 5,  # Gleason scores, five of each
        [str(n) for n in range(20)] * 5,
        ["0"] * 500 + ["1"] * 200 + ["2"] * 7 + ["9"],  # the median class has enough
        ["a", "b", "c"],
        [f"tumour {n}" for n in range(10)],
        [f"tumour {n}" for n in range(60)] * 2,
        ["T1", "T2", "T3"] * 2,
        ["1a", "1b", "2a", "2b", "3"] * 2,  # stages
        ["<50", "50-70", ">70"] * 2,
        ["<1", "1-3", ">=3"] * 9,
        ["I", "II", "III"],
    ],
)
def test_what_is_a_class(texts: list[str]) -> None:
    assert len(labels_of(texts).classes) == len({text.removesuffix(".0") for text in texts})


def test_the_message_can_be_pasted() -> None:
    with pytest.raises(UsageError, match=r"data\.classes=\[8,9,10,11,30,112\], all of them"):
        labels_of(["10", "9", "112", "8", "11", "30"])


def test_whoever_names_the_classes_has_them() -> None:
    texts = ages(119, 1)
    assert labels_of(texts, classes=sorted(set(texts), key=int)).classes[-1] == "256"
    assert labels_of(["1.5", "3", "1.5"], classes=[1.5, 3]).classes == ("1.5", "3")
    assert labels_of(["1.5", "3", "1.5"], positive=1.5).classes == ("3", "1.5")
    model = Multiclass(tuple(sorted(set(texts))))
    assert labels_of(texts[:7], model=model) == model  # what a run has learned is tested as it is


def test_nothing_but_blanks_is_no_quantity() -> None:
    refuse_quantities(["", ""], "y", "hands.csv")


def test_folders_named_by_numbers(tmp_path: Path) -> None:
    """Sorted by patient rather than by class."""
    for folder in range(101, 113):
        (tmp_path / str(folder)).mkdir()
        for n in range(2):
            Image.fromarray(np.full((8, 8), n, np.uint8)).save(tmp_path / str(folder) / f"{n}.png")
    cfg = {"name": "image_folder", "root": str(tmp_path), "image_size": 8, "channels": 1}
    with pytest.raises(UsageError, match=r"12 different numbers in 24 cases"):
        reader("image_folder")(cfg, None, None)
    named = reader("image_folder")(cfg | {"classes": [str(n) for n in range(101, 113)]}, None, None)
    assert named.target is not None and len(named.target.classes) == 12


def test_bags_of_a_csv(tmp_path: Path) -> None:
    (tmp_path / "bags.csv").write_text("label,bag,f0,f1\n" + "".join(f"{n}.5,b{n},0.1,{n}\n" for n in range(9)))
    cfg = option("feature_bags", table=str(tmp_path / "bags.csv"))
    with pytest.raises(UsageError, match="9 different numbers in 9 cases, not all of them whole"):
        reader("feature_bags")(cfg, None, None)


def test_boxes_called_by_a_score(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    rows = "".join(f"0.png,{n},1,{n + 3},5,0.{n + 1}\n" for n in range(5))
    (tmp_path / "boxes.csv").write_text("path,x_min,y_min,x_max,y_max,class\n" + rows)
    cfg = option("box_table", table=str(tmp_path / "boxes.csv"))
    with pytest.raises(UsageError, match="5 different numbers in 5 cases, not all of them whole"):
        reader("box_table")(cfg, None, None)
