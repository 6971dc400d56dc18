"""Tables as people have them, and what they are told when a table is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrain.core.errors import DataError, UsageError
from medtrain.data.rows.filter import matching
from medtrain.data.rows.manifest import Manifest, read_inputs, read_manifest
from medtrain.io.table import read_table
from medtrain.target import DataSpec
from tests.data.tables import config, read, write_images, write_table


def listed(manifest: Manifest) -> list[tuple[str, str]]:
    return [(problem.kind, problem.where) for _, problem in manifest.bad]


def test_binary(images: Path) -> None:
    manifest = read(images, "Path,Label,Patient_ID,age\n0.png,0,007,61\n1.png,1,007,\n2.png,0,8,50\n")
    assert (manifest.target.kind, manifest.target.classes, manifest.targets.tolist()) == (
        "binary",
        ("0", "1"),
        [0.0, 1.0, 0.0],
    )
    assert manifest.patient == ["007", "007", "8"] and manifest.has_patients and not manifest.warnings
    assert manifest.case == ["0.png", "1.png", "2.png"] and Path(manifest.path[1]) == images / "1.png"
    assert manifest.raw.typed.index.tolist() == [2, 3, 4] and manifest.raw.typed["age"].iloc[0] == 61
    assert not manifest.bad


def test_whole_numbers_with_a_point(images: Path) -> None:
    assert read(images, "path,label\n0.png,0.0\n1.png,1.0\n").target.classes == ("0", "1")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(images: Path, separator: str) -> None:
    text = "path,label\n0.png,0\n1.png,1\n".replace(",", separator)
    assert read(images, text).target.classes == ("0", "1")


def test_names_need_a_positive_class(images: Path) -> None:
    text = "path,label\n0.png,normal\n1.png,malignant\n"
    with pytest.raises(UsageError, match=r"data\.positive=.*data\.classes="):
        read(images, text)
    for chosen in ({"positive": "malignant"}, {"classes": ["normal", "malignant"]}):
        manifest = read(images, text, **chosen)
        assert manifest.target.classes == ("normal", "malignant") and manifest.targets.tolist() == [0.0, 1.0]
    assert read(images, text, positive="normal").target.classes == ("malignant", "normal")
    assert read(images, "path,label\n0.png,0\n1.png,1\n", positive=0).target.classes == ("1", "0")


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        ({"positive": "malignat"}, "did you mean 'malignant'"),
        ({"positive": "normal", "classes": ["normal", "malignant"]}, "is positive"),
        ({"classes": ["normal"]}, "two or more classes"),
        ({"classes": ["normal", "normal"]}, "each once"),
    ],
)
def test_wrong_classes(images: Path, chosen: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        read(images, "path,label\n0.png,normal\n1.png,malignant\n", **chosen)


def test_multiclass(images: Path) -> None:
    write_images(images, 15)
    text = "path,label\n" + "".join(f"{n}.png,{(10, 9, 2)[n % 3]}\n" for n in range(15))
    manifest = read(images, text)
    assert (manifest.target.kind, manifest.target.classes, manifest.targets[:3].tolist()) == (
        "multiclass",
        ("2", "9", "10"),
        [2, 1, 0],
    )
    assert manifest.targets.dtype == np.int64
    assert read(images, text, classes=[9, 2, 10]).targets[:3].tolist() == [2, 0, 1]
    with pytest.raises(UsageError, match="two classes"):
        read(images, text, positive=9)


def test_labels_outside_the_classes_are_listed(images: Path) -> None:
    manifest = read(images, "path,label\n0.png,a\n1.png,bb\n2.png,\n3.png,bbb\n", classes=["a", "bb"])
    assert listed(manifest) == [("missing_label", "table.csv row 4"), ("bad_label", "table.csv row 5")]
    assert "did you mean 'bb'" in manifest.bad[1][1].detail


def test_lists_are_multilabel(images: Path) -> None:
    text = "Image Index,Finding Labels\n0.png,No Finding\n1.png,Mass|Edema\n2.png,Edema\n"
    manifest = read(images, text)
    assert (manifest.target.kind, manifest.target.classes) == ("multilabel", ("Edema", "Mass"))
    assert manifest.targets.tolist() == [[0, 0], [1, 1], [1, 0]]
    chosen = read(images, text, classes=["Mass", "Nodule"])
    assert listed(chosen) == [("bad_label", "table.csv row 3"), ("bad_label", "table.csv row 4")]


def test_a_column_a_class_is_multilabel(images: Path) -> None:
    text = "path,Mass,Edema\n0.png,1,0\n1.png,-1,\n2.png,0.0,1.0\n3.png,2,1\n"
    manifest = read(images, text, columns={"label": ["Mass", "Edema"]})
    assert (manifest.target.kind, manifest.target.classes) == ("multilabel", ("Mass", "Edema"))
    np.testing.assert_array_equal(manifest.targets[:3], [[1, 0], [np.nan, np.nan], [0, 1]])
    assert listed(manifest) == [("bad_label", "table.csv row 5")]
    assert read(images, text, columns={"label": ["Mass", "Edema"]}, classes=["Edema", "Mass"]).targets[0].tolist() == [
        0,
        1,
    ]


def test_a_models_classes_hold(images: Path) -> None:
    binary = DataSpec.of("binary", ("sick", "well"), 1, (8, 8))
    manifest = read(images, "path,label\n0.png,sick\n1.png,sick\n2.png,ill\n", spec=binary, on_bad="skip")
    assert manifest.targets.tolist()[:2] == [0.0, 0.0] and listed(manifest) == [("bad_label", "table.csv row 4")]
    multilabel = DataSpec.of("multilabel", ("Mass", "Edema"), 1, (8, 8))
    for columns in ({}, {"label": ["Mass", "Edema"]}):
        manifest = read(images, "path,Edema\n0.png,1\n1.png,0\n", spec=multilabel, columns=columns)
        np.testing.assert_array_equal(manifest.targets, [[np.nan, 1], [np.nan, 0]])


def test_filter(images: Path) -> None:
    text = "path,label,View,Patient Age\n0.png,0,PA,30\n1.png,1,AP,40\n2.png,1,PA,50\n3.png,0,,60\n4.png,0,AP,70\n"
    assert read(images, text, filter="View == 'PA'").case == ["0.png", "2.png"]
    kept = read(images, text, filter="`Patient Age` >= 40 and View.notna()")
    assert list(kept.where) == ["table.csv row 3", "table.csv row 4", "table.csv row 6"]


def test_what_a_filter_quotes_is_a_text_else_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,region,size\na,NA,12\nb,EU,-\nc,null,40\nd,,n.a.\n")
    raw = read_table(tmp_path / "t.csv")

    def rows(query: str) -> str:
        return "".join(np.array(list("abcd"))[matching(raw, query)])

    assert rows("region == 'NA'") == "a" and rows("region != 'NA'") == "bcd"
    assert rows("region.notna()") == "b" and rows("region.isin(['null', 'EU'])") == "bc"
    assert rows("size > 20") == "c"  # what says nothing makes no texts of numbers


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("Vie == 'PA'", "is not a query of this table.*\n.*its columns|is not a query"),
        ("View ==", "is not a query"),
        ("View", "yes or no"),
        ("@__import__('os').system('x')", "not allowed"),
        ("View.to_csv('x')", "`.to_csv` is not allowed"),
        ("View.str.__class__", "not allowed"),
    ],
)
def test_bad_filters(images: Path, query: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        read(images, "path,label,View\n0.png,0,PA\n1.png,1,AP\n", filter=query)
    assert not (images / "x").exists()


def test_a_filter_may_speak_of_anything_in_quotes(images: Path) -> None:
    text = "path,label,View\n0.png,0,a.b@__c\n1.png,1,a.b@__c\n2.png,1,d\n"
    assert len(read(images, text, filter="View == 'a.b@__c'")) == 2


def test_patients(images: Path) -> None:
    text = "path,label\n0.png,0\n1.png,1\n"
    alone = read(images, text)
    assert alone.patient == ["0.png", "1.png"] and alone.warnings[0].kind == "no_patient"
    assert read(images, text, patient_pattern=r"^(\d)\.png").patient == ["0", "1"]
    assert listed(read(images, text, patient_pattern="^0")) == [("missing_patient", "table.csv row 3")]
    with pytest.raises(UsageError, match="no regular expression"):
        read(images, text, patient_pattern="(")
    blank = read(images, "path,label,patient\n0.png,0,a\n1.png,1,\n")
    assert listed(blank) == [("missing_patient", "table.csv row 3")]


def test_missing_files_and_blank_lines(images: Path) -> None:
    manifest = read(images, "path,label\n0.png,0\n\n9.png,1\n,1\n1.png,1\n")
    assert list(manifest.where) == [f"table.csv row {n}" for n in (2, 4, 5, 6)]
    assert listed(manifest) == [("missing", "table.csv row 4"), ("missing", "table.csv row 5")]


def test_repeated_rows(images: Path) -> None:
    same = read(images, "path,label\n0.png,0\n1.png,1\n./0.png,0\n")
    assert listed(same) == [("duplicate_row", "table.csv row 4")]
    other = read(images, "path,label\n0.png,0\n1.png,1\n0.png,1\n")
    assert listed(other) == [("label_conflict", "table.csv row 2"), ("label_conflict", "table.csv row 4")]
    cases = read(images, "path,label,case\n0.png,0,x\n1.png,1,x\n")
    assert listed(cases) == [("duplicate_row", "table.csv row 3")]


def test_root(images: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("tables")
    assert read(elsewhere, "path,label\n0.png,0\n1.png,1\n", root=str(images)).bad == []


def test_split_fold_and_site_columns(images: Path) -> None:
    text = "path,label,SPLIT,fold,Hospital\n0.png,0,Train,0,a\n1.png,1,holdout,1.0,b\n"
    manifest = read(images, text)
    assert manifest.split is not None and manifest.split.tolist() == ["train", ""]
    assert (manifest.fold, manifest.site) == (["0", "1"], ["a", "b"])
    assert listed(manifest) == [("bad_split", "table.csv row 3")]
    assert read(images, text, columns={"split": "none"}).split is None


@pytest.mark.parametrize(
    ("text", "changed", "error", "message"),
    [
        ("", {}, DataError, "is empty"),
        ("path,label\n", {}, DataError, "no rows"),
        ("0.png,0\n1.png,1\n", {}, DataError, "no header"),
        ("path,label\n0.png,1\n1.png,1\n", {}, DataError, "only one class"),
        ("path,label\n0.png,1\n1.png,1,3,4\n", {}, DataError, "not a regular CSV"),
        (
            "picture,label\n0,1\n",
            {},
            UsageError,
            r"data\.columns\.path: .* no column called path.*\nits columns: picture",
        ),
        ("path,sick\n0.png,1\n", {}, UsageError, r"data\.columns\.label"),
        ("path,Label_1\n0.png,1\n", {"columns": {"label": "label1"}}, UsageError, "did you mean 'Label_1'"),
        ("path,a\n0.png,1\n", {"columns": {"label": ["a", "b"], "site": "c"}}, UsageError, r"(?s)'b'.*'c'"),
        ("path,label\n0.png,0\n1.png,1\n", {"filter": "label > 3"}, DataError, "matches none of the 2 rows"),
    ],
)
def test_unusable_tables(
    images: Path, text: str, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(images, text, **changed)


def test_unusable_files(images: Path) -> None:
    (images / "latin.csv").write_bytes("path,label,köln\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_manifest(config(table=str(images / "latin.csv")))
    with pytest.raises(UsageError, match=r"no such file.*; did you mean 'latin.csv'"):
        read_manifest(config(table=str(images / "latn.csv")))
    (images / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(UsageError, match="save it as CSV"):
        read_manifest(config(table=str(images / "a.xlsx")))
    with pytest.raises(UsageError, match=r"data\.table is not set"):
        read_manifest(config(table=None))


def test_inputs_need_only_a_path(images: Path) -> None:
    table = write_table(images, "file,subject\n0.png,a\n9.png,b\n0.png,a\n")
    manifest = read_inputs(read_table(Path(table)), config(columns={"path": "image", "label": ["x", "y"]}))
    assert manifest.case == ["0.png", "9.png", "0.png"] and manifest.patient == ["a", "b", "a"]


def test_nih_as_published(test_data: Path) -> None:
    table = test_data / "xray_tables" / "nih_data_entry_head.csv"
    manifest = read_manifest(config(table=str(table), root=str(test_data / "xray"), filter="`View Position` == 'PA'"))
    assert manifest.target.kind == "multilabel" and "Cardiomegaly" in manifest.target.classes and len(manifest) > 100
    assert manifest.case[0] == "00000001_000.png" and manifest.patient[0] == "1"
    assert not any(name.lower() == "no finding" for name in manifest.target.classes)
    missing = {n for n, problem in manifest.bad if problem.kind == "missing"}
    assert missing == set(range(1, len(manifest))) and {problem.kind for _, problem in manifest.bad} == {"missing"}


CHEXPERT = """Path,Sex,No Finding,Edema,Fracture,Support Devices
train/patient00001/study1/view1_frontal.png,F,1,,0,
train/patient00001/study2/view1_frontal.png,F,,-1.0,1.0,1.0
train/patient00002/study1/view1_frontal.png,M,,1,,-1
"""


@pytest.mark.parametrize(
    ("policy", "edema", "devices"),
    [
        ({}, [0, None, 1], [None, 1, None]),
        ({"uncertain": "zeros"}, [0, 0, 1], [None, 1, 0]),
        ({"uncertain": "ones"}, [0, 1, 1], [None, 1, 1]),
        ({"uncertain": "ones", "blank": "zeros"}, [0, 1, 1], [0, 1, 1]),
    ],
)
def test_chexpert(tmp_path: Path, policy: dict[str, str], edema: list[Any], devices: list[Any]) -> None:
    columns = {"label": ["Edema", "Support Devices"]}
    node = config(table=write_table(tmp_path, CHEXPERT), columns=columns, patient_pattern=r"patient(\d+)", **policy)
    found = read_manifest(node)
    assert found.patient == ["00001", "00001", "00002"]
    expected = np.array([edema, devices], float).T
    bad = {n for n, problem in found.bad if problem.kind != "missing"}
    assert not bad
    np.testing.assert_array_equal(found.targets, expected)


def test_rsna_as_published(test_data: Path) -> None:
    columns = {"path": "patientId", "label": "Target", "patient": "patientId"}
    table = str(test_data / "xray_tables" / "rsna_boxes_head.csv")
    found = read_manifest(config(table=table, columns=columns, path_format="images/{}.dcm"))
    assert found.target.kind == "binary" and found.path[0].endswith("/images/0004cfab-14fd-4e49-80ba-63a80b6bddd6.dcm")
    assert {problem.kind for _, problem in found.bad} <= {"missing", "duplicate_row"}
