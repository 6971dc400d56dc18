"""Boxes at fault through the command: all of them named, nothing trained on them, the rest used where that is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.boxes import forty, make_coco
from tests.integration.conftest import Ran

DATA = ["task=lesion_det", "data=coco", "data.root=films", "data.image_size=64", "data.num_workers=0"]


@pytest.fixture
def films(folder: Path, phantom_cache: Path) -> Path:
    """Forty films, of which some boxes are at fault."""
    root = make_coco(folder / "films", forty())
    content = json.loads((root / "annotations.json").read_text())
    content["annotations"][0]["category_id"] = 77
    content["annotations"][1]["bbox"] = [5, 5, 0, 9]
    content["annotations"].append({"id": 900, "image_id": 12345, "category_id": 1, "bbox": [1, 1, 2, 2]})
    content["images"].append({"id": 99, "file_name": "gone.png", "patient": "p99"})
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def test_all_is_named_by_inspect_and_refused_by_train(films: Path, folder: Path, medtrain: Callable[..., Ran]) -> None:
    ran = medtrain("inspect", *DATA, "hydra.run.dir=look")
    assert ran.code == 1 and "3 errors in the data" in ran.err
    found = json.loads((folder / "look" / "inspect.json").read_text())
    kinds = {(problem["severity"], problem["kind"]) for problem in found["problems"]}
    assert kinds >= {
        ("error", "bad_label"),
        ("error", "missing"),
        ("error", "no_image"),
        ("warning", "zero_area"),
        ("warning", "tiny_boxes"),
    }
    assert found["images"]["boxes"]["total"] == 28 and (folder / "look" / "contact_sheet.png").is_file()
    ran = medtrain(*DATA, "model=yolo", "hydra.run.dir=run")
    assert ran.code == 1 and "3 problems in the data" in ran.err and "data.on_bad=skip" in ran.err
    assert "annotations.json annotations[30]: image_id 12345 is none of the images" in ran.err
    ran = medtrain("inspect", *DATA, "data.on_bad=skip", "hydra.run.dir=again")
    assert ran.code == 0, ran.err


def test_another_unit_is_named(films: Path, medtrain: Callable[..., Ran]) -> None:
    content = json.loads((films / "annotations.json").read_text())
    for annotation in content["annotations"]:
        annotation["bbox"] = [value / 100 for value in annotation["bbox"]]
    (films / "annotations.json").write_text(json.dumps(content))
    ran = medtrain(*DATA, "model=yolo", "data.on_bad=skip", "hydra.run.dir=run")
    assert ran.code == 1 and "the boxes are in another unit:" in ran.err
    assert (
        "shares of the image, where pixels are wanted; multiply them by width and height, or take data=yolo" in ran.err
    )


def test_several_roots_and_what_goes_not_with_them(
    folder: Path, phantom_cache: Path, medtrain: Callable[..., Ran]
) -> None:
    for name in ("one", "two"):
        make_coco(folder / "sites" / name, forty())
    roots = "data.root=[sites/one,sites/two]"
    ran = medtrain("inspect", *DATA, roots, "data.leakage=warn", "hydra.run.dir=look")
    assert ran.code == 0, ran.err
    found = json.loads((folder / "look" / "inspect.json").read_text())
    alone = medtrain("inspect", *DATA, "data.root=sites/one", "hydra.run.dir=single")
    assert alone.code == 0, alone.err
    single = json.loads((folder / "single" / "inspect.json").read_text())
    assert found["images"]["boxes"]["total"] == 2 * single["images"]["boxes"]["total"]
    for words, told in (
        (["data.root=[sites/one,sites/none]"], "sites/none: no such folder"),
        (["data.root=[sites,sites/one]"], "sites/one lies in"),
        ([roots, "data.annotations=annotations.json"], "belongs to one data.root"),
    ):
        ran = medtrain("inspect", *DATA, *words)
        assert ran.code == 2 and told in ran.err, ran.err
