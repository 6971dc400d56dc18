"""Segmentation of DICOM series by the command: learned from, and predicted as DICOM segmentations and as NIfTI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest

from medtrain.io.dicom_series import read_series
from tests.integration.conftest import Ran
from tests.io.test_dicom_seg import whole_series

hd = pytest.importorskip("highdicom")
ROWS = {"axial": [1, 0, 0, 0, 1, 0], "turned": [-1, 0, 0, 0, 1, 0], "coronal": [1, 0, 0, 0, 0, -1]}


def cases(folder: Path) -> Path:
    """A table of series in three orientations with a mask in NIfTI each: a bright block and a brighter one."""
    draw, rows = np.random.default_rng(3), []
    for n in range(10):
        mask = np.zeros((10, 14, 16), np.uint8)
        z, y, x = draw.integers(1, 4, 3)
        mask[z : z + 5, y : y + 8, x : x + 4], mask[z : z + 5, y : y + 8, x + 4 : x + 9] = 1, 2
        voxels = (draw.normal(0, 10, mask.shape) + np.array([0, 150, 400])[mask]).astype(np.int16)
        way = list(ROWS)[n % 3]
        steps = {"ImageOrientationPatient": ROWS[way], "SeriesInstanceUID": f"1.2.3.{n}", "PatientID": f"p{n}"}
        series = whole_series(folder / "series" / f"{n}_{way}", voxels, **steps)
        for number, file in enumerate(
            sorted(series.iterdir(), key=lambda f: pydicom.dcmread(f).ImagePositionPatient[2])
        ):
            header = pydicom.dcmread(file)
            header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{n}.{number + 1}"
            if way == "coronal":  # its slices go to the front
                header.ImagePositionPatient = [-10.0, 40.0 - 2.5 * number, 30.0]
            header.save_as(file)
        read = read_series(series)
        marked = np.digitize(read.x_CDHW[0], [75, 275]).astype(np.uint8)
        nib.save(nib.Nifti1Image(marked.T, read.affine), folder / f"mask_{n}.nii.gz")
        rows.append({"image": f"series/{n}_{way}", "mask": f"mask_{n}.nii.gz", "patient": f"p{n}"})
    pd.DataFrame(rows).to_csv(folder / "scans.csv", index=False)
    return folder / "scans.csv"


def on_slices(label: Any, headers: list[pydicom.Dataset]) -> np.ndarray:
    """What a label map in NIfTI has in the middle of each pixel of slices, by where both say they lie (C.7.6.2)."""
    values, back = np.asarray(label.dataobj), np.linalg.inv(label.affine)
    planes = []
    for header in headers:
        along, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        between_rows, between_columns = map(float, header.PixelSpacing)
        row, column = np.indices((header.Rows, header.Columns))
        lps = (
            np.array(header.ImagePositionPatient, float)
            + column[..., None] * between_columns * along
            + row[..., None] * between_rows * down
        )
        place = nib.affines.apply_affine(back, lps * [-1, -1, 1])
        np.testing.assert_allclose(place, place.round(), atol=1e-3)
        i, j, k = np.moveaxis(place.round().astype(int), -1, 0)
        planes.append(values[i, j, k])
    return np.stack(planes)


def test_series_are_learned_from_and_predicted_on_their_slices(medtrain: Callable[..., Ran], folder: Path) -> None:
    cases(folder)
    words = ["task=volume_seg", "data=volume_table", "data.table=scans.csv", "data.classes=[block,core]"]
    small = ["data.patch_size=8", "model.width=4", "trainer=cpu", "trainer.max_epochs=3", "eval.bootstrap=0"]
    ran = medtrain(*words, *small, "optimizer.lr=0.01", "task.mirror=false", "hydra.run.dir=run")
    assert ran.code == 0, ran.out + ran.err
    table = pd.read_csv(folder / "run" / "test_predictions.csv")
    assert table["dice_block"].min() > 0.5 and table["dice_core"].min() > 0.5
    for name, form in (("plain", []), ("made", ["format=dicom_seg"])):
        ran = medtrain("predict", "run=run", "input=series", f"output={name}.csv", *form)
        assert ran.code == 0, ran.out + ran.err
    plain, made = (pd.read_csv(folder / f"{name}.csv") for name in ("plain", "made"))
    assert len(plain) == len(made) == 10 and made["mask"].str.endswith(".dcm").all()
    pd.testing.assert_frame_equal(plain.drop(columns="mask"), made.drop(columns="mask"))
    for case, label_map, segmentation in zip(plain["case"], plain["mask"], made["mask"], strict=True):
        headers = [pydicom.dcmread(file) for file in (folder / "series" / case).iterdir()]
        there = on_slices(nib.load(folder / label_map), headers)
        read = hd.seg.segread(folder / segmentation)
        assert [segment.segment_label for segment in read.SegmentSequence] == ["block", "core"]
        assert read.FrameOfReferenceUID == headers[0].FrameOfReferenceUID
        pixels = read.get_pixels_by_source_instance(
            [header.SOPInstanceUID for header in headers],
            ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )
        assert pixels[..., 0].any() and pixels[..., 1].any()
        for number in (1, 2):
            np.testing.assert_array_equal(pixels[..., number - 1], there == number, err_msg=case)
