"""Files that tables come in, columns of one name, and paths as other systems write them."""

from __future__ import annotations

import gzip
import sys
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from medtrain.core.errors import DataError, UsageError
from medtrain.data.rows.manifest import read_manifest
from medtrain.io.table import read_table
from tests.data.tables import config, read, write_images, write_table

TEXT = "path,label,age,patient\n0.png,0,61,007\n1.png,1,,008\n2.png,0,50,\n"


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": ["0.png", "1.png", "2.png"],
            "label": [0, 1, 0],
            "age": [61, None, 50],
            "patient": ["007", "008", None],
        }
    )


@pytest.mark.parametrize(
    "name", ["t.csv.gz", "t.tsv.gz", "t.csv", "bom.csv", "utf16.csv", "t.xlsx", "t.parquet", "gz.csv"]
)
def test_the_same_table_in_other_files(name: str, images: Path) -> None:
    text, file = TEXT.replace(",", ";" if name == "t.csv" else "\t" if "tsv" in name else ","), images / name
    if "gz" in name:
        file.write_bytes(gzip.compress(text.encode()))
    elif name.endswith("xlsx"):
        frame().to_excel(file, index=False)
    elif name.endswith("parquet"):
        frame().set_index("path").to_parquet(file)
    else:
        file.write_text(text, encoding={"bom.csv": "utf-8-sig", "utf16.csv": "utf-16"}.get(name, "utf-8"))
    manifest = read_manifest(config(table=str(file)))
    assert manifest.target is not None and manifest.targets.tolist() == [0, 1, 0] and manifest.patient[0] == "007"
    assert [(n, problem.where) for n, problem in manifest.bad] == [(2, f"{name} row 4")]
    assert len(read_manifest(config(table=str(file), filter="age > 55 or age.isna()"))) == 2


@pytest.mark.parametrize("name", ["t.xlsx", "t.parquet", "t.csv.gz"])
@pytest.mark.parametrize("cut", [0, 2, 6, 60])
def test_damaged_files(name: str, cut: int, tmp_path: Path) -> None:
    file = tmp_path / name
    if name.endswith("xlsx"):
        frame().to_excel(file, index=False)
    elif name.endswith("parquet"):
        frame().to_parquet(file)
    else:
        file.write_bytes(gzip.compress(TEXT.encode() * 50))
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises((DataError, UsageError), match=name):
        read_table(file)


def test_several_sheets_are_asked_about(tmp_path: Path) -> None:
    with pd.ExcelWriter(tmp_path / "t.xlsx") as writer:
        for sheet in ("one", "two"):
            frame().to_excel(writer, sheet_name=sheet, index=False)
    with pytest.raises(UsageError, match=r"several sheets \(one, two\)"):
        read_table(tmp_path / "t.xlsx")


@pytest.mark.parametrize(("name", "module"), [("t.xlsx", "openpyxl"), ("t.parquet", "pyarrow")])
def test_a_reader_that_lacks_names_its_command(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (frame().to_excel if name == "t.xlsx" else frame().to_parquet)(tmp_path / name, index=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=r"pip install 'medtrain\[tables\]'"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("second", ["label", "label ", "\u00a0label", "Label"])
def test_columns_of_one_name_that_contradict(second: str, images: Path) -> None:
    text = f"path,label,{second}\n0.png,0,0\n1.png,1,1.0\n2.png,1,1\n"
    assert read(images, text).targets.tolist() == [0, 1, 1]
    other = text.replace("2.png,1,1", "2.png,1,0")
    with pytest.raises(UsageError, match=r"differ in 1 rows, first in table\.csv row 4: say data\.columns\.label="):
        read(images, other)
    name = "Label" if second == "Label" else "label.1"
    assert read(images, other, columns={"label": name}).targets.tolist() == [0, 1, 0]
    assert read(images, other, columns={"label": "label"}).targets.tolist() == [0, 1, 1]


def test_another_column_that_could_be_the_label_is_told(images: Path) -> None:
    (told,) = [
        p for p in read(images, "path,label,class\n0.png,0,0\n1.png,1,1\n2.png,1,0\n").warnings if "class" in p.detail
    ]
    assert told.kind == "other_column" and "differs in 1 rows" in told.detail


@pytest.mark.parametrize("name", ["image_id", "ImageID", "patientId", "dicom_id", "Image ID"])
def test_usual_names_and_lacking_suffixes(name: str, images: Path) -> None:
    manifest = read(images, f"{name},label\n0,0\n1,1\n2,1\n")
    assert not manifest.bad and Path(manifest.path[2]) == images / "2.png"
    assert "'{}.png' (data.path_format)" in " ".join(problem.detail for problem in manifest.warnings)


@pytest.mark.parametrize("name", ["sub\\0.png", "C:\\films\\0.png", "D:/films/0.png"])
def test_windows_paths_get_a_hint(name: str, images: Path) -> None:
    manifest = read(images, f"path,label\n{name},0\n1.png,1\n")
    assert [problem.kind for _, problem in manifest.bad] == ["missing"] and "Windows" in manifest.bad[0][1].detail


def test_letters_composed_otherwise(tmp_path: Path) -> None:
    write_images(tmp_path, 2)
    (tmp_path / "0.png").rename(tmp_path / unicodedata.normalize("NFD", "Bl\u00e4schen.png"))
    manifest = read(tmp_path, "path,label\nBl\u00e4schen.png,0\n1.png,1\n")
    assert not manifest.bad and write_table(tmp_path, "")
