"""Functional groups of enhanced objects: what stands there, shared or frame by frame, counts as at the top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medtrain.io.dicom_series import read_series
from medtrain.io.image import read_image
from medtrain.io.volume import VolumeError
from medtrain.io.volume_source import channels_of, content_of, read_volume, state_of
from tests.dicom_files import SYNTAXES, lut, place, write, write_frames
from tests.volumes import save_series

RESCALE = {"PixelValueTransformation": {"RescaleSlope": 2, "RescaleIntercept": -1024, "RescaleType": "HU"}}
FRAMES = np.random.default_rng(0).integers(0, 4000, (6, 24, 17)).astype(np.uint16)


def places(count: int = len(FRAMES), step: float = 2.5) -> list[dict[str, Any]]:
    return [place((-10, -20, 5 + step * n)) for n in range(count)]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_single_frame_is_shown_as_without_groups(tmp_path: Path, shared: bool, function: str) -> None:
    """Against the same file with the same elements at its top, which other tests compare with pydicom."""
    voi = {"WindowCenter": 300, "WindowWidth": 900, "VOILUTFunction": function}
    macros = {**RESCALE, "FrameVOILUT": voi}
    path = write_frames(tmp_path / "a.dcm", FRAMES[:1], macros if shared else {}, [{} if shared else macros])
    flat = write(tmp_path / "b.dcm", FRAMES[0], 16, RescaleSlope=2, RescaleIntercept=-1024, **voi)
    np.testing.assert_array_equal(read_image(path), read_image(flat))
    hu = FRAMES[0] * 2.0 - 1024
    if function == "LINEAR_EXACT":
        np.testing.assert_array_equal(read_image(path), np.rint(np.clip((hu + 150) / 900, 0, 1) * 65535))


def test_a_frame_s_group_beats_what_is_shared_and_that_the_top(tmp_path: Path) -> None:
    voi = {"FrameVOILUT": {"WindowCenter": 500, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"}}
    other = {"FrameVOILUT": {"WindowCenter": 5, "WindowWidth": 10}}
    top = {"WindowCenter": "7", "WindowWidth": "8", "RescaleSlope": "9", "RescaleIntercept": "1"}
    wanted = np.rint(np.clip((FRAMES[0] * 2.0 - 1024) / 1000, 0, 1) * 65535)
    for shared, own in ((voi | RESCALE, {}), (other | RESCALE, voi), (other, voi | RESCALE)):
        path = write_frames(tmp_path / "a.dcm", FRAMES[:1], shared, [own], **top)
        np.testing.assert_array_equal(read_image(path), wanted)


def test_a_voi_lut_of_a_frame(tmp_path: Path) -> None:
    table = (np.sqrt(np.arange(4000)) * 60).astype(np.uint16)
    path = write_frames(tmp_path / "a.dcm", FRAMES[:1], {"FrameVOILUT": {"VOILUTSequence": lut(table, 0, 12)}}, [{}])
    np.testing.assert_array_equal(read_image(path), np.rint(table[FRAMES[0]] / 4095 * 65535))


@pytest.mark.parametrize(
    ("modality", "kind", "syntax"),
    [("CT", "2.1", ""), ("MR", "4.1", ""), ("PT", "130", ""), *(("CT", "2.1", syntax) for syntax in SYNTAXES)],
)
def test_frames_are_a_volume(tmp_path: Path, modality: str, kind: str, syntax: str) -> None:
    """Out of order, each with its own rescale as PET has it; against the voxels by hand."""
    order = [3, 0, 5, 1, 4, 2]
    slopes = [1 + n / 4 for n in order]
    per_frame = [
        places()[n] | {"PixelValueTransformation": {"RescaleSlope": slope, "RescaleIntercept": -n, "RescaleType": "HU"}}
        for n, slope in zip(order, slopes, strict=True)
    ]
    path = write_frames(
        tmp_path / "a.dcm",
        FRAMES[order],
        {},
        per_frame,
        Modality=modality,
        SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{kind}",
    )
    if syntax:
        recompress(path, syntax)
    volume = read_volume(path)
    expected = np.stack([FRAMES[n] * (1 + n / 4) - n for n in range(6)])
    np.testing.assert_allclose(volume.x_CDHW[0], expected[:, ::-1, ::-1], rtol=1e-6)
    assert volume.spacing == pytest.approx((2.5, 0.8, 0.6)) and volume.source.orientation == "LPS"
    assert volume.affine @ [16, 23, 0, 1] == pytest.approx([10, 20, 5, 1])
    assert set(volume.notes) == ({"rescales"} if modality == "CT" else set())
    (tmp_path / "folder").mkdir()
    path.rename(tmp_path / "folder" / "a.dcm")
    np.testing.assert_array_equal(read_volume(tmp_path / "folder").x_CDHW, volume.x_CDHW)


def recompress(path: Path, syntax: str) -> None:
    """Encode each frame by GDCM as a file of its own, and put the streams together."""
    ds, streams = pydicom.dcmread(path), []
    for frame in ds.pixel_array:
        one = pydicom.dcmread(write(path.with_suffix(".one"), frame, 16, syntax))
        streams += list(pydicom.encaps.generate_frames(one.PixelData, number_of_frames=1))
    path.with_suffix(".one").unlink()
    ds.file_meta.TransferSyntaxUID = SYNTAXES[syntax][0]
    ds.PixelData = pydicom.encaps.encapsulate(streams)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.save_as(path, enforce_file_format=True)


def test_as_simpleitk_reads_the_same_slices(tmp_path: Path) -> None:
    """An oblique volume as one object, against ITK's reading of single files."""
    sitk = pytest.importorskip("SimpleITK")
    direction = np.array([0.96, 0.28, 0, -0.28 * 0.8, 0.96 * 0.8, 0.6])
    normal = np.cross(direction[:3], direction[3:])
    at = [np.array([-30.5, 12.25, 100]) + 3.2 * n * normal for n in range(6)]
    (tmp_path / "single").mkdir()
    for n, frame in enumerate(FRAMES):
        write(tmp_path / f"single/{n}.dcm", frame, 16, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT",
              ImagePositionPatient=[f"{v:.6f}" for v in at[n]], ImageOrientationPatient=[f"{v:.6f}" for v in direction],
              PixelSpacing=[0.8, 0.6], SeriesInstanceUID="1.2.3", RescaleSlope=2, RescaleIntercept=-1024)  # fmt: skip
    shared = RESCALE | {name: macro for name, macro in place(at[0], direction).items() if name != "PlanePosition"}
    own = [{"PlanePosition": {"ImagePositionPatient": [f"{v:.6f}" for v in p]}} for p in at]
    volume = read_volume(write_frames(tmp_path / "a.dcm", FRAMES, shared, own))
    image = sitk.ReadImage([str(tmp_path / f"single/{n}.dcm") for n in range(6)])
    same = sitk.DICOMOrient(image, "RAS")  # indices grow to right, front and head
    np.testing.assert_array_equal(volume.x_CDHW[0], sitk.GetArrayFromImage(same))
    np.testing.assert_allclose(volume.spacing, same.GetSpacing()[::-1], rtol=1e-5)
    np.testing.assert_allclose(volume.affine[:3, 3] * [-1, -1, 1], same.GetOrigin(), atol=1e-4)
    np.testing.assert_array_equal(read_series(tmp_path / "single").x_CDHW, volume.x_CDHW)


KINDS: list[tuple[str, dict[str, Any], str]] = [
    ("stacks", {"FrameContent": {"StackID": "2"}}, r"differ in their stack \(StackID\)"),
    ("echoes", {"MREcho": {"EffectiveEchoTime": 80.0}}, "6 slices at 3 places: 2 echoes"),
    ("b", {"MRDiffusion": {"DiffusionBValue": 800.0}}, "2 b-values"),
    ("time", {"FrameContent": {"TemporalPositionIndex": 2}}, "2 time points"),
    ("type", {"MRImageFrameType": {"FrameType": ["ORIGINAL", "PRIMARY", "T1", "PHASE"]}}, "2 kinds of image"),
]


@pytest.mark.parametrize(("name", "macro", "reason"), KINDS, ids=[kind[0] for kind in KINDS])
def test_what_is_several_volumes_is_not_stacked(tmp_path: Path, name: str, macro: Any, reason: str) -> None:
    """Each place twice, the second time of another kind."""
    first = {"FrameContent": {"StackID": "1", "TemporalPositionIndex": 1}, "MREcho": {"EffectiveEchoTime": 10.0},
             "MRDiffusion": {"DiffusionBValue": 0.0},
             "MRImageFrameType": {"FrameType": ["ORIGINAL", "PRIMARY", "T1", "NONE"]}}  # fmt: skip
    second = {key: value | macro.get(key, {}) for key, value in first.items()}
    per_frame = [places()[n // 2] | (second if n % 2 else first) for n in range(6)]
    path = write_frames(tmp_path / "a.dcm", FRAMES, RESCALE, per_frame, Modality="MR")
    with pytest.raises(VolumeError, match=reason) as caught:
        read_volume(path)
    assert "split the file" in str(caught.value) or name == "stacks"


def test_frames_that_are_no_volume_say_why(tmp_path: Path) -> None:
    def reason(shared: Any, per_frame: Any, **elements: Any) -> str:
        with pytest.raises(VolumeError) as caught:
            read_volume(write_frames(tmp_path / "a.dcm", FRAMES, shared, per_frame, **elements))
        return str(caught.value)

    assert "does not place it (ImagePositionPatient, ImageOrientationPatient, PixelSpacing): frames of time" in reason(
        {}, [{}] * 6
    )
    half = [{"PlanePosition": macros["PlanePosition"]} for macros in places()]
    assert "does not place it (ImageOrientationPatient, PixelSpacing)" in reason({}, half)
    assert "2 slices are missing" in reason({}, [places(9)[n] for n in (0, 1, 2, 5, 6, 7)])
    assert "6 frames, but functional groups of 5" in reason({}, places()[:5])
    assert "1 of 6 slices lack the rescale" in reason({}, [p | (RESCALE if n else {}) for n, p in enumerate(places())])
    other = {"PixelValueTransformation": {**RESCALE["PixelValueTransformation"], "RescaleType": "US"}}
    assert "differ in their units" in reason({}, [p | (RESCALE if n else other) for n, p in enumerate(places())])
    with pytest.raises(VolumeError, match="one slice only"):
        read_volume(write(tmp_path / "b.dcm", FRAMES[0], 16, SeriesInstanceUID="1.2", ImagePositionPatient=[0, 0, 0],
                          ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[1, 1]))  # fmt: skip
    with pytest.raises(ValueError, match=r"multi-frame DICOM \(6 frames\).*as a volume"):
        read_image(tmp_path / "a.dcm")


def test_units_that_are_not_there_are_told(tmp_path: Path) -> None:
    bare = read_volume(write_frames(tmp_path / "a.dcm", FRAMES, {}, places()))
    assert "not Hounsfield" in bare.notes["no_rescale"] and bare.x_CDHW.max() == FRAMES.max()
    real = {"RealWorldValueMapping": {"RealWorldValueSlope": 0.5, "RealWorldValueIntercept": 10.0}}
    volume = read_volume(write_frames(tmp_path / "a.dcm", FRAMES, real, places(), Modality="MR"))
    assert "real_world" in volume.notes
    np.testing.assert_allclose(volume.x_CDHW[0], (FRAMES * 0.5 + 10)[:, ::-1, ::-1])
    both = read_volume(write_frames(tmp_path / "a.dcm", FRAMES, real | RESCALE, places(), Modality="MR"))
    np.testing.assert_array_equal(both.x_CDHW[0], (FRAMES * 2.0 - 1024)[:, ::-1, ::-1])
    assert not both.notes


def test_a_file_of_frames_is_a_source_like_others(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.dcm", FRAMES, RESCALE, places())
    assert channels_of([str(path)]) == 1 and state_of(path)[0] == path.stat().st_size and len(content_of(path)) == 16
    several = save_series(tmp_path / "ct", FRAMES[:3].astype(np.int16), (2.5, 0.8, 0.6))
    assert read_volume(several).x_CDHW.shape == (1, 3, 24, 17)
