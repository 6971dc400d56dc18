"""Tables of boxes as RSNA, VinDr and NIH publish them, and others by naming their columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medtrain.core.errors import UsageError
from medtrain.data.source.box_table import read_box_table
from medtrain.io.boxes import Annotations
from tests.data.boxes import option, picture


def read(path: Path, text: str = "", **changes: Any) -> Annotations:
    if text:
        path.write_text(text)
    columns = {**option("box_table")["columns"], **changes.pop("columns", {})}
    return read_box_table(option("box_table", table=str(path), columns=columns, **changes))


def test_rsna(test_data: Path) -> None:
    found = read(test_data / "xray_tables" / "rsna_boxes_head.csv")
    assert len(found) == 321 and len(found.box) == 194 and set(found.label) == {"lesion"} and not found.bad
    first = found.name.index("00436515-870c-4b36-a041-de91049b9ab4")
    assert [box for box, image in zip(found.box, found.image, strict=True) if image == first] == [
        (264, 152, 264 + 213, 152 + 379),
        (562, 152, 562 + 256, 152 + 453),
    ]
    assert found.patient == found.name
    assert len(set(found.image)) < len(found)  # the others are negatives


def test_nih(test_data: Path) -> None:
    found = read(test_data / "xray_tables" / "nih_bbox_head.csv")
    assert found.unit == "xywh" and set(found.label) == {"Atelectasis", "Cardiomegaly"} and not found.bad
    assert found.name[0] == "00013118_008.png"
    assert found.box[0] == pytest.approx((225.0847, 547.0192, 225.0847 + 86.7797, 547.0192 + 79.1864), abs=1e-3)


VINDR = """image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max
a,No finding,14,R11,,,,
b,Cardiomegaly,3,R10,691.0,1375.0,1653.0,1831.0
b,Aortic enlargement,0,R10,1264.0,743.0,1611.0,1019.0
c,No finding,14,R11,0,0,1,1
"""


def test_vindr_and_files_that_have_a_suffix(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / "png" / f"{name}.png")
    found = read(tmp_path / "train.csv", VINDR, root=str(tmp_path / "png"))
    assert found.unit == "xyxy" and found.label == ["Cardiomegaly", "Aortic enlargement"] and found.image == [1, 1]
    assert found.box[0] == (691, 1375, 1653, 1831) and not found.bad
    assert all(Path(path).is_file() for path in found.path)
    assert read(tmp_path / "train.csv", path_format="x/{}.dcm").path[0] == str(tmp_path / "x/a.dcm")


def test_columns_are_named_and_a_missing_label_makes_one_class(tmp_path: Path) -> None:
    text = "scan,who,a,b,c,d\n1.png,p1,1,2,5,9\n1.png,p1,3,4,6,7\n2.png,p2,,,,\n"
    names = {"path": "scan", "patient": "who", "x_min": "a", "y_min": "b", "x_max": "c", "y_max": "d"}
    found = read(tmp_path / "t.csv", text, columns=names)
    assert found.patient == ["p1", "p2"] and set(found.label) == {"lesion"} and len(found.box) == 2
    with pytest.raises(UsageError, match="data.columns.x_min: t.csv has no column called x_min"):
        read(tmp_path / "t.csv", columns={"path": "scan"})
    with pytest.raises(UsageError, match="has neither columns x_max and y_max nor width and height"):
        read(tmp_path / "t.csv", columns={"path": "scan", "x_min": "a", "y_min": "b"})


def test_all_that_is_wrong_is_named_by_row(tmp_path: Path) -> None:
    text = """path,patient,split,label,x_min,y_min,x_max,y_max
1.png,p1,train,mass,1,2,5,9
1.png,p2,test,mass,1,3,5,9
2.png,p2,train,mass,1,2,x,9
3.png,p3,train,mass,,,,
4.png,p4,val,No finding,4,5,60,70
,p5,val,mass,1,2,3,4
"""
    found = read(tmp_path / "t.csv", text)
    assert [(image, problem.kind, problem.where) for image, problem in found.bad] == [
        (0, "bad_patient", "t.csv row 3"),
        (0, "bad_split", "t.csv row 3"),
        (1, "bad_box", "t.csv row 4"),
        (2, "bad_box", "t.csv row 5"),
        (3, "bad_label", "t.csv row 6"),
        (None, "missing", "t.csv row 7"),
    ]
    assert "split is 'test', but 'train' in t.csv row 2 for the same image" in str(found.bad[1][1])


def test_nothing_and_a_box_by_one_reader_contradict_each_other(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    head = "image_id,class_name,rad_id,x_min,y_min,x_max,y_max\n"
    rows = "a,No finding,R1,,,,\na,mass,R1,5,5,25,25\nb,No finding,R1,,,,\nb,mass,R2,5,5,25,25\nc,No finding,R1,,,,\n"
    ((image, problem),) = read(tmp_path / "t.csv", head + rows).bad
    assert image == 0 and str(problem) == "t.csv row 2: it says that there is nothing, but t.csv row 3 has a box"
    rsna = "patientId,x,y,width,height,Target\na,5,5,10,10,1\na,,,,,0\nb,,,,,0\n"
    assert [(n, problem.kind) for n, problem in read(tmp_path / "r.csv", rsna).bad] == [(0, "bad_label")]
