"""Patients of DICOM headers: read once, remembered by file and key, never by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medtrain.data.rows.header_patients import header_patients
from medtrain.io import dicom
from medtrain.io.pseudonym import pseudonym
from tests.dicom_files import write


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose headers were read."""
    done: list[str] = []
    real = dicom.read_patient_id
    monkeypatch.setattr(dicom, "read_patient_id", lambda path: (done.append(str(path)), real(path))[1])
    return done


def films(folder: Path) -> list[Path]:
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    write(folder / "a.dcm", pixels, 12, PatientID="42")
    write(folder / "IM1", pixels, 12, PatientID="42 ")
    write(folder / "c.dcm", pixels, 12, PatientID="")
    (folder / "d.png").write_bytes(b"no matter what")
    (folder / "notes").write_text("no film")
    return [folder / name for name in ("a.dcm", "IM1", "c.dcm", "d.png", "notes", "gone.dcm")]


def test_headers_are_read_once(tmp_path: Path, reads: list[str]) -> None:
    paths = films(tmp_path)
    expected = [pseudonym("42"), pseudonym("42"), None, None, None, None]
    assert header_patients(paths, tmp_path / "cache") == expected and len(reads) == 3
    assert header_patients([*reversed(paths), paths[0]], tmp_path / "cache") == [*reversed(expected), expected[0]]
    assert len(reads) == 3
    write(paths[0], np.zeros((8, 8), np.uint16), 12, PatientID="7")
    assert header_patients(paths, tmp_path / "cache")[:2] == [pseudonym("7"), pseudonym("42")] and len(reads) == 4
    assert header_patients(paths, tmp_path / "cache")[0] == pseudonym("7") and len(reads) == 4


def test_another_key_has_a_memory_of_its_own(tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = films(tmp_path)
    one = header_patients(paths, tmp_path / "cache")
    monkeypatch.setenv("MEDTRAIN_HASH_KEY", "another")
    other = header_patients(paths, tmp_path / "cache")
    assert other[0] == pseudonym("42") != one[0] and len(reads) == 6


def test_a_damaged_memory_is_made_again(tmp_path: Path, reads: list[str]) -> None:
    paths = films(tmp_path)
    first = header_patients(paths, tmp_path / "cache")
    for memory in (tmp_path / "cache" / "patients").iterdir():
        assert b"42" not in memory.read_bytes().replace(pseudonym("42").encode(), b"")[128:]
        memory.write_bytes(memory.read_bytes()[:150])
    assert header_patients(paths, tmp_path / "cache") == first and len(reads) == 6
    assert header_patients(paths, tmp_path / "cache") == first and len(reads) == 6


def test_other_pictures_need_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDTRAIN_HASH_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert header_patients(["a.png", "b.jpg"], tmp_path / "cache") == [None, None]
    assert not (tmp_path / "config").exists() and not (tmp_path / "cache").exists()
