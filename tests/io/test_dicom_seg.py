"""DICOM segmentations of a series: read back by highdicom, they are the masks on the slices they were made of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from medtrain.io.dicom_seg import write_dicom_seg
from medtrain.io.dicom_series import read_series
from medtrain.io.volume import VolumeError
from tests.volumes import save_series

hd = pytest.importorskip("highdicom")
WHOLE = {
    "StudyInstanceUID": "1.2.9",
    "FrameOfReferenceUID": "1.2.4",
    "StudyID": "",
    "StudyDate": "",
    "StudyTime": "",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "PatientBirthDate": "",
    "PatientSex": "",
    "SliceThickness": 2.5,
}


def whole_series(folder: Path, voxels: np.ndarray, **elements: object) -> Path:
    """A series with all that a CT image must have."""
    return save_series(folder, voxels, (2.5, 0.75, 0.5), **WHOLE | elements)


@pytest.mark.parametrize("direction", [[1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, 1, 0]], ids=["axial", "turned"])
def test_masks_are_read_back_on_their_slices(direction: list[int], tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    volume = draw.integers(-900, 900, (5, 12, 16)).astype(np.int16)
    series = whole_series(tmp_path / "series", volume, ImageOrientationPatient=direction)
    read = read_series(series)
    own = SimpleNamespace(source=read.source, affine=read.affine, shape=read.x_CDHW.shape)
    shown = read.x_CDHW[0]
    masks = [shown > 300, (shown > 0) & (shown < 600), np.zeros(shown.shape, bool)]  # they overlap, one is empty
    write_dicom_seg(masks, ["liver", "a lesion", "nothing"], own, series, tmp_path / "made.dcm")
    made = hd.seg.segread(tmp_path / "made.dcm")
    assert [segment.segment_label for segment in made.SegmentSequence] == ["liver", "a lesion", "nothing"]
    headers = sorted(
        (pydicom.dcmread(file) for file in series.iterdir()), key=lambda header: header.ImagePositionPatient[2]
    )
    pixels = made.get_pixels_by_source_instance(
        [header.SOPInstanceUID for header in headers],
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    values = np.stack([header.pixel_array.astype(int) - 1024 for header in headers])
    np.testing.assert_array_equal(pixels[..., 0], values > 300)
    np.testing.assert_array_equal(pixels[..., 1], (values > 0) & (values < 600))
    assert not pixels[..., 2].any() and pixels[..., 0].any()


def test_a_mask_of_nothing_is_written(tmp_path: Path) -> None:
    series = whole_series(tmp_path / "series", np.zeros((3, 6, 6), np.int16) + np.arange(6, dtype=np.int16))
    read = read_series(series)
    own = SimpleNamespace(source=read.source, affine=read.affine, shape=read.x_CDHW.shape)
    write_dicom_seg([np.zeros((3, 6, 6), bool)], ["liver"], own, series, tmp_path / "made.dcm")
    assert not hd.seg.segread(tmp_path / "made.dcm").pixel_array.any()


def test_headers_that_are_no_base_are_told(tmp_path: Path) -> None:
    series = whole_series(tmp_path / "series", np.zeros((3, 6, 6), np.int16) + np.arange(6, dtype=np.int16))
    for file in series.iterdir():
        header = pydicom.dcmread(file)
        del header.FrameOfReferenceUID
        header.save_as(file)
    read = read_series(series)
    own = SimpleNamespace(source=read.source, affine=read.affine, shape=read.x_CDHW.shape)
    with pytest.raises(VolumeError, match="headers are no base of a segmentation.*Frame of Reference"):
        write_dicom_seg([np.ones((3, 6, 6), bool)], ["liver"], own, series, tmp_path / "made.dcm")
    assert not (tmp_path / "made.dcm").exists()
