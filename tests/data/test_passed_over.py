"""Files beside the cases of a folder that is predicted are told by number and suffix, whatever kind the cases are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from medtrain.data.batches.pictures import list_pictures
from medtrain.data.batches.volumes import WHAT, find_volumes
from medtrain.data.rows.inputs import list_inputs
from medtrain.data.rows.manifest import Manifest
from medtrain.data.rows.passed_over import told_barren
from medtrain.data.slide.bags import list_bags, list_slides

CFG = {"patient_pattern": "(.)", "columns": {}}  # no headers are read for patients
BESIDE = ("notes.txt", "more/notes.TXT", "README", "table.xlsx", ".hidden.txt", ".git/x.txt")
HIDDEN = ("._a.nii.gz", "more/._b.dcm", ".trash/c.nii.gz", "._a.png", "._a.h5", "._a.svs")  # as macOS leaves them
LEFT = ("Thumbs.db", "__MACOSX/a.png", "__MACOSX/a.h5", "@eaDir/a.svs", "@eaDir/b.nii.gz", ".DS_Store")


def volumes(folder: Path) -> Manifest:
    return list_inputs(folder, CFG, find_volumes, WHAT, folders=True)


def slides(folder: Path) -> Manifest:
    listed = list_slides(folder, CFG)
    assert listed is not None
    return listed


@pytest.mark.parametrize(
    ("listing", "cases", "parts"),
    [
        (lambda folder: list_pictures(folder, CFG), ("a.png", "more/b.JPG"), ()),
        (volumes, ("a.nii.gz", "more/b.nii"), ("c.img",)),
        (lambda folder: list_bags(folder, CFG), ("a.h5", "more/b.pt"), ()),
        (slides, ("a.svs", "more/b.mrxs"), ("more/b/Slidedat.ini", "more/b/Data0000.dat")),
    ],
)
def test_what_lies_beside_cases(
    listing: Callable[[Path], Manifest], cases: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path
) -> None:
    for name in (*cases, *parts, *BESIDE, *LEFT, *HIDDEN):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    manifest = listing(tmp_path)
    assert manifest.case == sorted(cases)
    (told,) = manifest.warnings
    assert told.kind == "passed_over" and "passed over 9 files" in told.detail
    for words in (".txt (2)", ".db (1)", ".xlsx (1)", "without a suffix (1)", "__MACOSX/ (2)", "@eaDir/ (2)"):
        assert words in told.detail
    for name in (*BESIDE, *LEFT):
        (tmp_path / name).unlink()
    assert not listing(tmp_path).warnings


def test_folders_without_cases_are_told(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/deep/2.png", "notes/x.txt", "__MACOSX/._1", ".git/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    for name in ("c/train", "b/none"):
        (tmp_path / name).mkdir(parents=True)
    (told,) = [one for one in list_pictures(tmp_path, CFG).warnings if one.kind == "no_cases"]
    assert told.detail.startswith("3 folders hold no ") and told.detail.endswith(": c, notes, b/none")


def test_a_series_folder_and_a_circle_are_no_barren_folders(tmp_path: Path) -> None:
    (tmp_path / "series" / "raw").mkdir(parents=True)
    (tmp_path / "circle").symlink_to(tmp_path, target_is_directory=True)
    assert told_barren(tmp_path, [tmp_path / "series"], "volumes") == []
