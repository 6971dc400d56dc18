"""nnU-Net's raw folder as a source: what dataset.json says, and what files lack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from medtrain.core.errors import DataError, UsageError
from medtrain.data.batches.masks import MaskData
from tests.repository import data_option
from tests.segmentations import PLANNED, halved_balls

LABELS = {"background": 0, "left": 1, "right": 2}


def raw_folder(root: Path, channels: int = 1, count: int = 16, **described: Any) -> Path:
    """Cases 0 to count - 1, the last two for testing, without masks."""
    table = halved_balls(root / "made", count)
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (root / name).mkdir(parents=True)
    for n in range(count):
        images = root / ("imagesTr" if n < count - 2 else "imagesTs")
        for channel in range(channels):
            shutil.copy(table.parent / f"{n}.nii.gz", images / f"case_{n}_{channel:04d}.nii.gz")
        if n < count - 2:
            shutil.copy(table.parent / f"mask_{n}.nii.gz", root / "labelsTr" / f"case_{n}.nii.gz")
    names = {str(n): "CT" for n in range(channels)}
    usual = {"channel_names": names, "labels": LABELS, "numTraining": count - 2, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(usual | described))
    return root


def opened(root: Path, said: list[str] | None = None, **keys: Any) -> MaskData:
    node = data_option("nnunet") | dict.fromkeys(PLANNED) | {"label_from": "mask", "memory_gb": 8.0}
    node |= {"root": str(root), "cache_dir": str(root / "cache"), "num_workers": 0} | keys
    data = MaskData(node, report=(said if said is not None else []).append)
    data.prepare()
    return data


def test_names_channels_and_modality_are_those_of_the_description(tmp_path: Path) -> None:
    said: list[str] = []
    data = opened(raw_folder(tmp_path, channels=2), said)
    assert data.spec.classes == ("left", "right") and data.spec.channels == 2
    assert set(data.cases["case"]) == {f"case_{n}" for n in range(14)}
    assert len(data.spec.intensity) == 2  # as of CT
    assert any("2 images" in line or "4 images" in line for line in said)
    batch = next(iter(data.train_dataloader()))
    assert batch["x"].shape[1] == 2


def test_regions_and_what_is_ignored(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "right": 2, "ignore": 3}
    data = opened(raw_folder(tmp_path, labels=labels, channel_names={"0": "T1"}))
    assert data.spec.classes == ("whole", "right") and data.target.regions == ((1, 2), (2,))
    assert data.target.ignore_label == 3 and data.spec.intensity == ()


def test_test_cases_with_masks_are_the_official_test_split(tmp_path: Path) -> None:
    root = raw_folder(tmp_path)
    (root / "labelsTs").mkdir()
    for n in (14, 15):
        shutil.copy(root / "made" / f"mask_{n}.nii.gz", root / "labelsTs" / f"case_{n}.nii.gz")
    data = opened(root)
    test = data.cases.loc[data.cases["split"] == "test", "case"]
    assert test.tolist() == ["case_14", "case_15"] and (data.cases["split"] == "val").any()


def test_the_decathlons_form_and_version_one(tmp_path: Path) -> None:
    root = raw_folder(tmp_path, labels={"0": "background", "1": "left", "2": "right"}, modality={"0": "MRI"})
    described = json.loads((root / "dataset.json").read_text())
    del described["channel_names"], described["file_ending"]
    (root / "dataset.json").write_text(json.dumps(described))
    for folder in ("imagesTr", "imagesTs"):
        for file in (root / folder).iterdir():
            file.rename(file.with_name(file.name.replace("_0000", "")))
        (root / folder / "._case_3.nii.gz").write_bytes(b"what macOS leaves behind")
    assert opened(root).spec.classes == ("left", "right")


def test_what_lacks_is_named_and_nothing_else_is_lost(tmp_path: Path) -> None:
    root = raw_folder(tmp_path, channels=2, numTraining=20)
    (root / "imagesTr" / "case_3_0001.nii.gz").unlink()
    (root / "labelsTr" / "case_5.nii.gz").unlink()
    (root / "imagesTr" / "notes.txt").write_text("x")
    shutil.copy(root / "labelsTr" / "case_1.nii.gz", root / "labelsTr" / "case_99.nii.gz")
    with pytest.raises(DataError) as caught:
        opened(root)
    text = str(caught.value)
    assert "case_3: lacks channel 0001" in text and "case_5" in text and len(caught.value.problems) == 2
    said: list[str] = []
    assert len(opened(root, said, on_bad="skip").cases) == 12
    for piece in ("numTraining is 20", "case_99", "1 files that do not end in .nii.gz"):
        assert any(piece in line for line in said), piece


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        opened(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"dataset\.json: not there"):
        opened(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        opened(tmp_path)
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "a": "one"}}')
    with pytest.raises(DataError, match="neither a number"):
        opened(tmp_path)
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "a": 1}}')
    with pytest.raises(DataError, match="no images that end in"):
        opened(tmp_path)
