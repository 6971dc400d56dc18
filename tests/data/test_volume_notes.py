"""What readers have to say of volumes is told once a kind; what they stumble over costs one row."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from medtrain.core.errors import DataError
from medtrain.data.batches.volumes import VolumeData, find_volumes
from medtrain.io.store import voxels
from medtrain.io.volume import VolumeError
from medtrain.io.volume_source import read_volume
from tests.data.test_volume_data import DEFAULTS, training, volumes
from tests.volumes import nodules, save


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return nodules(tmp_path)


def spiked(table: Path, rows: list[int], value: float) -> None:
    for row in rows:
        file = table.parent / pd.read_csv(table)["image"][row]
        image = nib.load(file)
        x = np.asarray(image.dataobj, np.float32)
        x[0, 0, 0] = value
        nib.save(nib.Nifti1Image(x, image.affine), file)


@pytest.mark.parametrize("value", [1e6, 3e38, -1e30])
def test_one_voxel_is_told_and_changes_nothing_else(table: Path, tmp_path: Path, value: float) -> None:
    plain = training(volumes(table, tmp_path / "cache", window=None))
    spiked(table, [1, 3, 5], value)
    told: list[str] = []
    data = volumes(table, tmp_path / "cache", told, window=None)
    after = training(data)
    assert [problem.kind for problem in data.problems if problem.kind == "extreme"] == ["extreme"]
    assert "row 3" in (line := next(text for text in told if "clipped" in text)) and "2 other volumes likewise" in line
    for one, other in zip(plain, after, strict=True):
        assert (one["x"] - other["x"]).abs().flatten(1).median(1).values.max() < 0.01


def test_a_bad_row_says_so_and_no_more(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, row = voxels.read_volume, pd.read_csv(table)["image"][2]

    def stumbles(path: str) -> object:
        if path.endswith(row):
            raise OverflowError("value too large")
        return read(path)

    monkeypatch.setattr(voxels, "read_volume", stumbles)
    with pytest.raises(DataError, match=r"row 4.*OverflowError") as error:
        volumes(table, tmp_path / "cache").prepare()
    assert len(error.value.problems) == 1
    data = volumes(table, tmp_path / "other", on_bad="skip")
    data.prepare()
    assert len(data.cases) == len(pd.read_csv(table)) - 1

    def full(path: str) -> object:
        raise MemoryError

    monkeypatch.setattr(voxels, "read_volume", full)
    with pytest.raises(DataError, match="does not fit in memory"):
        volumes(table, tmp_path / "full").prepare()
    monkeypatch.undo()  # with more memory it is read: that reason isn't remembered
    volumes(table, tmp_path / "full").prepare()


def test_inputs_of_every_format_get_a_row(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = volumes(table, tmp_path / "cache")
    data.prepare()
    folder = tmp_path / "inputs"
    x = np.random.default_rng(0).normal(-500, 100, (12, 12, 12)).astype(np.float32)
    save(folder / "a.nii.gz", x)
    nib.save(nib.MGHImage(x, np.eye(4)), folder / "b.mgz")
    (folder / "c.mhd").write_text("ObjectType = Image\nElementDataFile = c.raw\n")
    (folder / "d.nii.zst").write_bytes(b"")
    nib.save(nib.Nifti1Image(x, None), folder / "e.nii")
    (folder / "notes.txt").write_text("")
    (folder / "f.dcm").write_bytes(b"not DICOM" * 100)
    nib.save(nib.Nifti1Pair(x, np.eye(4)), folder / "g.img")
    names = ["a.nii.gz", "b.mgz", "c.mhd", "d.nii.zst", "e.nii", "f.dcm", "g.hdr"]
    assert [file.name for file in find_volumes(folder)] == names
    cfg = DEFAULTS | {"cache_dir": str(tmp_path / "cache"), "patch_size": 8, "window": [-1000, 200]}
    inputs = VolumeData.for_inputs(cfg, data.spec, folder)
    assert inputs.errors.keys() == {2, 3, 5, 6} and "no DICOM file" in inputs.errors[5]
    assert all("save it as .nii.gz" in reason for n, reason in inputs.errors.items() if n != 5)
    with pytest.raises(VolumeError, match="its voxels in the same file"):
        read_volume(folder / "g.img")
    assert "e.nii: has neither qform nor sform" in capsys.readouterr().err
