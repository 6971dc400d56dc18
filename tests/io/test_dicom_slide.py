"""DICOM slides of several files: read whole by any of them, and counted once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medtrain.core.errors import DataError
from medtrain.data.rows.bags import with_slides
from medtrain.data.rows.manifest import manifest_of
from medtrain.data.slide.bags import list_slides
from medtrain.io.dicom_slide import dicom_slides, slide_file
from medtrain.io.slide import Slide
from medtrain.io.slide_content import slide_content
from medtrain.io.table import read_table
from tests.dicom_slides import dicom_slide
from tests.slide_files import slide_file as tiff_slide
from tests.slide_files import stained

HOW = {
    "full": {}, "sparse": {"sparse": True}, "parts": {"parts": 3}, "sparse parts": {"sparse": True, "parts": 2},
    "gaps": {"sparse": True, "without": [(0, 0), (2, 3)]},
}  # fmt: skip


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return stained(768)[0]


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("dicom")
    for name, how in HOW.items():
        dicom_slide(folder / name, pixels, **how)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize("name", HOW)
def test_any_file_of_a_slide_is_the_whole_slide(slides: Path, pixels: np.ndarray, name: str) -> None:
    files = sorted((slides / name).iterdir())
    contents = set()
    for file in files:
        slide = Slide(file)
        assert slide.sizes == [(768, 768), (384, 384), (192, 192)] and slide.mpp == 0.5
        whole = slide.read(0, 0, 0, 768, 768).astype(int)
        expected = pixels.copy()
        for row, column in HOW[name].get("without", ()):
            expected[row * 128 : row * 128 + 128, column * 128 : column * 128 + 128] = 255
        assert np.abs(whole - expected).mean() < 2
        contents.add(slide_content(file))
        assert slide_file(file) == slide_file(slides / name) == slides / name / "level0_0.dcm"
    assert len(contents) == 1
    assert dicom_slides(files).keys() == {slides / name / "level0_0.dcm"}


def test_a_folder_of_slides_lists_each_once(slides: Path, tmp_path: Path) -> None:
    shutil.copytree(slides, tmp_path / "in")
    for file in (slides / "parts").iterdir():  # two slides in one folder
        shutil.copy(file, tmp_path / "in" / "full" / f"other_{file.name}")
    tiff_slide(tmp_path / "in" / "t.tiff", 512)
    (tmp_path / "in" / "notes.txt").touch()
    listed = list_slides(tmp_path / "in", {})
    assert listed is not None
    assert listed.case == [
        "full/level0_0.dcm", "full/other_level0_0.dcm", "gaps/level0_0.dcm", "parts/level0_0.dcm",
        "sparse/level0_0.dcm", "sparse parts/level0_0.dcm", "t.tiff",
    ]  # fmt: skip
    told = [problem.detail for problem in listed.warnings]
    assert any(line.startswith("41 files are 6 slides of several files") for line in told)
    assert any("passed over 1 files" in line and ".txt (1)" in line for line in told)
    with pytest.raises(
        ValueError, match=r"holds 2 DICOM slides \(level0_0.dcm, other_level0_0.dcm, ...\): name a file"
    ):
        slide_file(tmp_path / "in" / "full")
    (alone,) = list_slides(tmp_path / "in" / "gaps", {}).path  # type: ignore[union-attr]
    assert alone.endswith("gaps/level0_0.dcm")


def rows_of(table: Path, *lines: str) -> list[tuple[str, str]]:
    table.write_text("\n".join(["slide,label", *lines]))
    manifest = manifest_of(*with_slides(read_table(table), {"columns": {}, "classes": ["a", "b"]}))
    return [(problem.kind, problem.where) for _, problem in manifest.bad]


def test_a_table_that_names_files_of_one_slide_is_refused(slides: Path) -> None:
    table = slides / "t.csv"
    assert rows_of(table, "full,a", "sparse/level1_0.dcm,b", "parts/a_label.dcm,b") == []
    again = rows_of(table, "full/level0_0.dcm,a", "full/level1_0.dcm,a", "full,a", "parts,b")
    assert again == [("duplicate_row", "t.csv row 3"), ("duplicate_row", "t.csv row 4")]
    unlike = rows_of(table, "full/level0_0.dcm,a", "full/level1_0.dcm,b", "parts,b")
    assert [kind for kind, _ in unlike] == ["label_conflict"] * 2
    assert rows_of(table, "full/gone.dcm,a", "parts,b") == [("missing", "t.csv row 2")]
    (slides / "empty").mkdir()
    with pytest.raises(DataError, match="1 folders in t.csv are not one slide"):
        rows_of(table, "empty,a", "parts,b")


def test_what_cannot_be_opened_says_why(slides: Path, tmp_path: Path) -> None:
    shutil.copytree(slides / "parts", tmp_path / "lacking")
    (tmp_path / "lacking" / "level0_1.dcm").unlink()
    with pytest.raises(ValueError, match="Missing SOP instance 2/3 in concatenation"):
        Slide(tmp_path / "lacking" / "level0_0.dcm")
    shutil.copytree(slides / "full", tmp_path / "other")
    for file in (tmp_path / "other").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
        dataset.save_as(file)
    with pytest.raises(ValueError, match="Unsupported transfer syntax .*; convert its files: gdcmconv --raw"):
        Slide(tmp_path / "other" / "level0_0.dcm")
