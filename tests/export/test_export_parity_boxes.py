"""Two files of COCO results: boxes are paired; what moved, what changed and what a tie decides are told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medtrain.export.parity import Limits, Parity
from medtrain.export.parity_boxes import compare_boxes

LIMITS = Limits(1e-5, thresholds={"a": 0.5, "b": 0.5})


def box(x: float, score: float, category: str = "a", image: int = 1) -> dict[str, Any]:
    return {
        "image_id": image, "category_id": "ab".index(category), "bbox": [x, 10.0, 20.0, 20.0], "score": score,
        "file_name": f"{image}.png", "category": category, "shown": score >= 0.5,
    }  # fmt: skip


def compared(folder: Path, ours: list[dict[str, Any]], theirs: list[dict[str, Any]], limits: Limits = LIMITS) -> Parity:
    for name, entries in (("ours", ours), ("theirs", theirs)):
        (folder / f"{name}.json").write_text(json.dumps(entries))
        rows = "".join(f"{n},{n}.png,100,100,{len(entries)},\n" for n in (1, 2))
        (folder / f"{name}.images.csv").write_text(f"image_id,case,width,height,boxes,error\n{rows}")
    return compare_boxes(folder / "ours.json", folder / "theirs.json", limits)


def test_boxes_that_hardly_differ_are_the_same_in_any_order(tmp_path: Path) -> None:
    ours = [box(0, 0.9), box(50, 0.2), box(0, 0.8, "b"), box(0, 0.7, image=2)]
    theirs = [box(0, 0.7, image=2), box(0.3, 0.8, "b"), box(50, 0.200004), box(0, 0.9)]
    parity = compared(tmp_path, ours, theirs)
    assert (parity.faults, parity.changed, parity.unsteady) == ([], [], [])
    assert parity.pixels == pytest.approx(0.3)
    assert parity.largest == pytest.approx(4e-6)


@pytest.mark.parametrize(
    ("theirs", "text"),
    [
        ([box(0.6, 0.9), box(50, 0.2)], "only the"),
        ([box(0, 0.9), box(50, 0.21)], "score 0.21"),
        ([box(0, 0.9, "b"), box(50, 0.2)], "only the run has it"),
        ([box(50, 0.2)], "only the run has it"),
        ([box(0, 0.9), box(50, 0.2), box(80, 0.7)], "only the export has it"),
    ],
)
def test_what_differs_is_a_fault(theirs: list[dict[str, Any]], text: str, tmp_path: Path) -> None:
    parity = compared(tmp_path, [box(0, 0.9), box(50, 0.2)], theirs)
    assert any(text in fault for fault in parity.faults), parity.faults


def test_a_decision_that_tips_is_a_fault_but_of_16_bits_one_that_is_near(tmp_path: Path) -> None:
    ours, theirs = [box(0, 0.500002)], [box(0, 0.499998)]
    parity = compared(tmp_path, ours, theirs)
    assert len(parity.changed) == len(parity.faults) == 1
    assert "2e-06 from where it tips" in parity.changed[0]
    near = compared(tmp_path, ours, theirs, Limits(1e-3, True, LIMITS.thresholds))
    assert (len(near.changed), near.faults) == (1, [])


def test_a_few_boxes_below_the_threshold_may_have_no_counterpart_and_are_told(tmp_path: Path) -> None:
    ours, theirs = [box(0, 0.9), box(50, 0.2), box(90, 0.2)], [box(0, 0.9), box(53, 0.2), box(93, 0.2)]
    parity = compared(tmp_path, ours, theirs)
    assert parity.faults[0].startswith("4 of 3 boxes have no counterpart")  # so many are no ties
    many = [box(0, 0.1, image=2) | {"bbox": [30.0 * n, 0.0, 9.0, 9.0]} for n in range(400)]
    parity = compared(tmp_path, ours + many, theirs + many)
    assert (len(parity.unsteady), parity.faults, parity.changed) == (4, [], [])
    parity = compared(tmp_path, [box(50, 0.8), *many], [box(53, 0.8), *many])
    assert len(parity.changed) == len(parity.faults) == 2


def test_images_that_could_not_be_read_must_be_the_same(tmp_path: Path) -> None:
    compared(tmp_path, [], [])
    table = tmp_path / "theirs.images.csv"
    table.write_text(table.read_text().replace("2,2.png,100,100,0,", "2,2.png,,,0,broken"))
    parity = compare_boxes(tmp_path / "ours.json", tmp_path / "theirs.json", LIMITS)
    assert "broken" in parity.faults[0]
