"""Boxes against their images: what is left out, cut, refused, and how it is said."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrain.core.errors import DataError
from medtrain.data.rows.box_faults import judge
from medtrain.io.boxes import Annotations
from medtrain.io.boxes.annotations import BoxRow, ImageRow

SIZE = np.array([[40.0, 60.0], [100.0, 100.0]])


def annotations(boxes: list[Any], unit: Any = "xyxy") -> Annotations:
    found = Annotations(Path("boxes.csv"), unit)
    for name in ("a", "b"):
        found.add_image(ImageRow(name, name, name))
    for n, (image, *box) in enumerate(boxes):
        found.add_box(BoxRow(image, "x", box, f"row {n}"))
    return found


GOOD = [(1, 10 + n, 10, 30 + n, 40) for n in range(30)]  # enough that the odd ones are single ones


def test_single_boxes_are_left_out_or_cut_and_told() -> None:
    odd = [
        (0, 5, 5, 5, 9),
        (0, 9, 5, 5, 9),
        (0, 70, 5, 80, 9),
        (0, 50, 30, 70, 45),
        (0, -0.5, 0, 60.4, 40),
        (1, 10, 10, 30, 40),
    ]
    found = judge(annotations(GOOD + odd), SIZE)
    assert Counter(p.kind for p in found.warnings) == {
        "zero_area": 1,
        "reversed_box": 1,
        "outside_box": 1,
        "clipped_box": 1,
        "duplicate_box": 1,
    }
    assert not found.bad and len(found.boxes_M4) == 32
    np.testing.assert_array_equal(found.boxes_M4[-2:], [(50, 30, 60, 40), (0, 0, 60, 40)])
    said = {p.kind: str(p) for p in found.warnings}
    assert said["zero_area"] == "row 30: (5, 5, 5, 9) has no area; left out"
    assert said["clipped_box"] == "row 33: (50, 30, 70, 45) reaches beyond its image (60 x 40 pixels); cut"


def test_an_image_that_its_boxes_faults_empty_is_told() -> None:
    for odd in [(0, 5, 5, 5, 9)], [(0, 9, 5, 5, 9)], [(0, 70, 5, 80, 9), (0, 5, 5, 5, 9)]:
        judged = judge(annotations([*GOOD, *odd]), SIZE)
        assert f"(of {len(odd)})" in next(str(p) for p in judged.warnings if p.kind == "no_box_left")
    half = judge(annotations([*GOOD, (0, 5, 5, 5, 9), (0, 5, 5, 15, 9)]), SIZE)
    assert "no_box_left" not in {p.kind for p in half.warnings}


def test_no_number_is_an_error_of_its_image() -> None:
    found = judge(annotations([*GOOD, (0, float("nan"), 1, 2, 3)]), SIZE)
    assert [(image, problem.kind) for image, problem in found.bad] == [(0, "bad_box")]


def test_boxes_of_images_that_cannot_be_read_are_no_matter() -> None:
    found = judge(annotations([(0, 500, 500, 600, 600), *GOOD]), np.array([[np.nan, np.nan], [100, 100]]))
    assert len(found.boxes_M4) == 30 and not found.warnings


def test_shares_become_pixels() -> None:
    found = judge(annotations([(0, 0.5, 0.25, 1.0, 0.5), (1, 0.1, 0.2, 0.3, 0.4)], "share"), SIZE)
    np.testing.assert_allclose(found.boxes_M4, [(30, 10, 60, 20), (10, 20, 30, 40)])
    found = judge(annotations([(0, 0.5, 0.25, 1.0, 0.5), (1, 10, 20, 30, 40)], "share"), SIZE)
    assert [(image, problem.kind) for image, problem in found.bad] == [(1, "box_unit")]
    assert "(10, 20, 30, 40) where shares of the image" in str(found.bad[0][1])


@pytest.mark.parametrize(
    ("unit", "boxes", "message"),
    [
        ("xyxy", [(1, 0.1, 0.2, 0.3, 0.4)] * 2, "all 2 boxes lie within 0..1: shares of the image"),
        ("xywh", [(1, 0.1, 0.2, 0.3, 0.4)], "shares of the image, where pixels are wanted; multiply"),
        # x, y, width, height taken for corners: reversed where the width is less than x
        ("xyxy", [(1, 50, 60, 20, 30)] * 5 + [(1, 10, 10, 30, 40)] * 5, "5 of 10 boxes end before they begin: x, y, w"),
        # corners taken for x, y, width, height: x + x_max reaches beyond the image
        ("xywh", [(1, x, x, x + x + 20, x + x + 25) for x in range(10, 60)], "x_min, y_min, x_max, y_max, where x, y,"),
        # boxes in pixels of an image twice as large
        (
            "xywh",
            [(1, 150, 20, 180, 60)] * 9,
            "9 of 9 boxes reach beyond their images; are they in pixels of images of",
        ),
        ("xyxy", [(0, 50, 10, 80, 60)] * 9, "9 of 9 boxes reach beyond their images; are they in pixels of images of"),
    ],
)
def test_another_unit_is_named(unit: str, boxes: list[Any], message: str) -> None:
    with pytest.raises(DataError, match="the boxes are in another unit") as caught:
        judge(annotations(boxes, unit), SIZE)
    assert message in str(caught.value)
    assert caught.value.problems[0].kind == "box_unit" and caught.value.problems[0].where == "boxes.csv"
