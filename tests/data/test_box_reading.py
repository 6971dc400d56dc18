"""Several readers of one image: told, fused, put to the vote; a box and the polygon of one object; VinDr's table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrain.core.errors import UsageError
from medtrain.data.rows.boxes import box_rows
from medtrain.data.rows.manifest import Manifest
from medtrain.data.source.box_table import read_box_table
from medtrain.io.boxes import Annotations
from medtrain.io.boxes.annotations import BoxRow, ImageRow
from tests.data.boxes import option, picture

# a: two lesions, the first drawn by all three readers (by two alike), the second by R2 alone; b: by one of two; c: one
# reader; d: no one
VINDR = """image_id,class_name,rad_id,x_min,y_min,x_max,y_max
a,mass,R1,10,10,20,20
a,mass,R2,10,10,20,20
a,mass,R3,11,11,21,21
a,mass,R2,30,20,40,30
b,mass,R1,5,5,15,15
b,No finding,R2,,,,
c,nodule,R3,5,5,15,15
d,No finding,R1,,,,
d,No finding,R2,,,,
"""


def rows(tmp_path: Path, text: str = VINDR, **changes: Any) -> Manifest:
    for name in "abcd":
        picture(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text(text)
    cfg = option("box_table", table=str(tmp_path / "t.csv"), cache_dir=str(tmp_path / "cache"), **changes)
    return box_rows(read_box_table(cfg), cfg)


def warned(manifest: Manifest, kind: str) -> str:
    (detail,) = [p.detail for p in manifest.warnings if p.kind == kind]
    return detail


def test_overlapping_boxes_of_several_readers_are_told_and_all_count(tmp_path: Path) -> None:
    manifest = rows(tmp_path)
    assert manifest.truth is not None and len(manifest.truth.boxes_M4) == 5  # equal ones once
    assert warned(manifest, "several_readers").startswith("1 images have overlapping boxes of one class")


def test_agreement_by_hand(tmp_path: Path) -> None:
    # pairs of a box and another reader: lesion 1: 3 boxes x 2, all drew it; lesion 2: 1 x 2, none; b: 1 x 1, none
    text = warned(rows(tmp_path, readers="fuse"), "reader_agreement")
    assert "mass 0.67 (2 by 1, 1 by 3)" in text and "3 readers" in text and "nodule" not in text


def test_fused_boxes_are_means(tmp_path: Path) -> None:
    truth = rows(tmp_path, readers="fuse").truth
    assert truth is not None and truth.case_M.tolist() == [0, 0, 1, 2]
    first = truth.boxes_M4[truth.boxes_M4[:, 0].argsort()]
    np.testing.assert_allclose(truth.boxes_M4[0], np.array([31, 31, 61, 61]) / 3)
    assert [30, 20, 40, 30] in first.tolist()
    assert truth.area_M[0] == pytest.approx(100)


@pytest.mark.parametrize(("consensus", "left"), [(1, 4), (2, 2), (3, 2)])
def test_votes(consensus: int, left: int, tmp_path: Path) -> None:
    manifest = rows(tmp_path, readers="vote", consensus=consensus)
    assert manifest.truth is not None and len(manifest.truth.boxes_M4) == left
    assert 2 in manifest.truth.case_M  # the only reader of c is all of its readers
    if consensus == 2:
        assert warned(manifest, "no_consensus") == (
            "2 boxes are left out that fewer than 2 readers drew; 1 images were read by fewer, so all of their readers "
            "must agree"
        )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"readers": "mean"}, "data.readers=mean is none of fuse, vote"),
        ({"readers": "vote", "consensus": 0}, "data.consensus=0 is no whole number"),
        ({"readers": "fuse", "columns": {**option("box_table")["columns"], "reader": "none"}}, "nothing says who"),
        ({"readers": "fuse", "label_map": {"mass": None}, "filter": "case == 'c'"}, "all are of 'R3'"),
    ],
)
def test_what_has_no_meaning_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        rows(tmp_path, **changes)


def test_vindr_mammo(tmp_path: Path) -> None:
    for study, name in (("s1", "i1"), ("s1", "i2"), ("s2", "i3")):
        picture(tmp_path / f"images/{study}/{name}.png")
    (tmp_path / "finding_annotations.csv").write_text(
        "study_id,image_id,height,width,breast_birads,finding_categories,finding_birads,xmin,ymin,xmax,ymax,split\n"
        "s1,i1,40,60,BI-RADS 4,\"['Mass', 'Skin Retraction']\",BI-RADS 4,5,6,25,20,training\n"
        "s1,i2,40,60,BI-RADS 1,['No Finding'],,,,,,training\n"
        "s2,i3,40,60,BI-RADS 3,['Mass'],BI-RADS 3,1,2,30,30,test\n"
    )
    cfg = option("box_table", table=str(tmp_path / "finding_annotations.csv"), cache_dir=str(tmp_path / "c"))
    read = read_box_table(cfg)
    assert read.label == ["Mass", "Skin Retraction", "Mass"] and read.box[0] == read.box[1] == (5, 6, 25, 20)
    assert read.image == [0, 0, 2] and read.patient == ["s1", "s1", "s2"] and not read.bad
    assert all(Path(path).is_file() for path in read.path)
    manifest = box_rows(read, cfg)
    assert read.split == ["training", "training", "test"] and not manifest.bad


def test_names_with_backslashes(tmp_path: Path) -> None:
    picture(tmp_path / "d/a.png")
    (tmp_path / "t.csv").write_text("path,x_min,y_min,x_max,y_max\nd\\a.png,1,2,3,4\n")
    read = read_box_table(option("box_table", table=str(tmp_path / "t.csv")))
    assert Path(read.path[0]) == tmp_path / "d/a.png"


def test_a_box_and_the_polygon_of_one_object_are_one(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    read = Annotations(tmp_path / "a.json", "xyxy")
    image = read.add_image(ImageRow(tmp_path / "a.png", "a.png", "a"))
    read.add_box(BoxRow(image, "x", (10, 10, 20, 20), "box"))
    read.add_box(BoxRow(image, "x", (10.4, 10, 20.3, 19.6), "polygon of it", outline=True))
    read.add_box(BoxRow(image, "y", (10, 10, 20, 20), "polygon of another class", outline=True))
    read.add_box(BoxRow(image, "x", (12, 10, 22, 20), "polygon of another", outline=True))
    read.add_box(BoxRow(image, "x", (10.4, 10, 20, 20), "another box"))
    manifest = box_rows(read, option("coco", root=str(tmp_path), cache_dir=str(tmp_path / "c")))
    assert [p.where for p in manifest.warnings if p.kind == "duplicate_box"] == ["polygon of it"]
    assert manifest.truth is not None and len(manifest.truth.boxes_M4) == 4
