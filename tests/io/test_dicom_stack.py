"""Slices of a series: at the places that they were taken at, however written, and whatever lies beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import generate_uid

from medtrain.io.content import of_voxels
from medtrain.io.dicom_series import read_series
from medtrain.io.nifti import read_nifti
from medtrain.io.volume import Volume, VolumeError
from tests.dicom_files import write

CT = "1.2.840.10008.5.1.4.1.1.2"
COUNT, SIZE = 12, (48, 40)
Write = Callable[..., Path]


@pytest.fixture
def series(tmp_path: Path) -> Write:
    """Write slices at positions that a function of their number gives, as `form` writes them."""

    def save(position: Callable[[int], Any], name: str = "s", form: str = "{:.6f}", count: int = COUNT,
             pixels: Callable[[int], np.ndarray] | None = None, each: Callable[[int], dict[str, Any]] | None = None,
             **elements: Any) -> Path:  # fmt: skip
        (tmp_path / name).mkdir(exist_ok=True)
        for k in range(count):
            x = np.full(SIZE, 1000 + k, np.int16) if pixels is None else pixels(k)
            own: dict[str, Any] = {
                "SOPClassUID": CT, "Modality": "CT", "SeriesInstanceUID": "1.2.3", "InstanceNumber": k + 1,
                "ImagePositionPatient": [form.format(v) for v in position(k)], "PixelSpacing": [0.8, 0.8],
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "RescaleSlope": 1, "RescaleIntercept": -1024,
            }  # fmt: skip
            write(tmp_path / name / f"{(k * 7) % 101:03d}.dcm", x, 16, **own | elements | (each(k) if each else {}))
        return tmp_path / name

    return save


def scene(mm_LPS: np.ndarray) -> np.ndarray:
    """A picture of space, linear where it is looked at: linear interpolation gives it back exactly."""
    return 400 + mm_LPS @ np.array([3.0, 5.0, 7.0])


@pytest.mark.parametrize("angle", [20.0, -12.5, 30.0])
@pytest.mark.parametrize("axis", ["down", "across"])
def test_a_tilted_gantry_shows_what_a_straight_one_does(series: Write, angle: float, axis: str) -> None:
    """Voxels are what the scene is at the place that the affine gives them, and axes are at right angles."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    across, down = ([1, 0, 0], [0, c, -s]) if axis == "down" else ([c, 0, -s], [0, 1, 0])
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]][..., None] * 0.8

    def pixels(k: int) -> np.ndarray:
        return np.rint(scene(rows * down + columns * across + [0, 0, 2.5 * k]) * 8).astype(np.int16)

    direction = [f"{v:.8f}" for v in across + down]
    folder = series(lambda k: (0, 0, 2.5 * k), pixels=pixels, ImageOrientationPatient=direction,
                    RescaleSlope="0.125", RescaleIntercept="0")  # fmt: skip
    volume = read_series(folder)
    assert f"{abs(angle):.1f} degrees" in volume.notes["tilt"]
    axes = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert volume.spacing == pytest.approx((2.5 * c, 0.8, 0.8), rel=1e-5)
    index = np.stack(np.meshgrid(*map(np.arange, volume.x_CDHW.shape[:0:-1]), indexing="ij"), -1)
    mm = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    expected = scene(mm * [-1, -1, 1]).T
    lowest = volume.x_CDHW.min()
    shown = volume.x_CDHW[0] > lowest
    inner = shown & np.roll(shown, 2, 1) & np.roll(shown, -2, 1) & np.roll(shown, 2, 2) & np.roll(shown, -2, 2)
    assert inner.sum() > 0.8 * COUNT * SIZE[0] * SIZE[1]
    assert np.abs(volume.x_CDHW[0] - expected)[inner].max() < 0.15  # the stored values are rounded to an eighth


def test_a_tilt_as_simpleitk_resamples_it(series: Write) -> None:
    """Noise, not a plane: against ITK's linear interpolation of each slice alone, at the places of our voxels."""
    sitk = pytest.importorskip("SimpleITK")
    c, s = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
    noise = np.random.default_rng(0).integers(0, 3000, (COUNT, *SIZE)).astype(np.int16)
    folder = series(lambda k: (0, 0, 2.5 * k), pixels=lambda k: noise[k], ImageOrientationPatient=[1, 0, 0, 0, c, -s])
    volume = read_series(folder)
    turned = volume.x_CDHW[0][:, ::-1, ::-1]  # as the slices are stored: to the left, to the back
    for k in range(COUNT):
        image = sitk.GetImageFromArray(noise[k].astype(np.float32) - 1024)
        image.SetSpacing((0.8, 0.8))
        image.SetOrigin((0, -2.5 * s * k))  # along the rows' normal within the slice's plane
        grid = sitk.GetImageFromArray(turned[k])
        grid.SetSpacing((0.8, 0.8))
        grid.SetOrigin((0, -0.8 * (turned.shape[1] - SIZE[0])))
        same = sitk.GetArrayFromImage(
            sitk.Resample(image, grid, sitk.Transform(2, sitk.sitkIdentity), sitk.sitkLinear, -1e6)
        )
        seen = same > -1e5
        assert seen.sum() >= (SIZE[0] - 1) * SIZE[1]
        np.testing.assert_allclose(turned[k][seen], same[seen], atol=0.02)


@pytest.mark.parametrize(("step", "form"), [(0.625, "{:.1f}"), (0.75, "{:.1f}"), (1.25, "{:.1f}"), (0.3125, "{:.2f}"),
                                            (2.5, "{:.0f}"), (1 / 3, "{:.1f}")])  # fmt: skip
@pytest.mark.parametrize("count", [5, 12, 33])
def test_rounded_positions_are_fitted(series: Write, step: float, form: str, count: int) -> None:
    volume = read_series(series(lambda k: (-3.04, 7.77, -41.3 + step * k), form=form, count=count))
    assert volume.spacing[0] == pytest.approx(step, abs=0.12 * step / count**0.5 + 1e-9)
    assert ("fitted" in volume.notes) == (form != "{:.2f}")  # half a hundredth is nothing to tell
    np.testing.assert_array_equal(volume.x_CDHW[0, :, 0, 0], np.arange(count) - 24)
    missing = series(lambda k: (0, 0, step * (k + (k > count // 2))), "gap", form, count)
    with pytest.raises(VolumeError, match="missing|uneven"):
        read_series(missing)


@pytest.mark.parametrize("beside", ["-171.699", "-171", "-171.5"])
def test_one_coordinate_may_be_rounded_alone(series: Write, beside: str) -> None:
    """x and y as the planner has them, z to a tenth; writers leave out zeros at the end."""

    def place(step: float) -> Callable[[int], Any]:
        return lambda k: (float(beside), float(beside), round(-41.3 + step * k, 1))

    for step in (0.6, 0.625, 0.75, 1.25):
        volume = read_series(series(place(step), form="{}", count=33))
        assert volume.spacing[0] == pytest.approx(step, abs=0.01)
    with pytest.raises(VolumeError, match="1 slice is missing"):
        read_series(series(lambda k: (float(beside), 0.123, k + (k > 1)), "gap", form="{:.9g}", count=4))
    with pytest.raises(VolumeError, match="do not lie over each other"):
        read_series(series(lambda k: (float(beside) + (k == 5), 0.123, k), "beside", form="{:.9g}"))


def test_a_tilt_whose_positions_are_rounded_is_undone_too(series: Write) -> None:
    c, s = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
    direction = [f"{v:.3f}" for v in (1, 0, 0, 0, c, -s)]
    volume = read_series(series(lambda k: (0, 0, 1.25 * k), form="{:.1f}", ImageOrientationPatient=direction))
    assert volume.spacing[0] == pytest.approx(1.25 * c, rel=0.01) and {"tilt", "fitted"} <= set(volume.notes)
    assert "20.0 degrees" in volume.notes["tilt"]


def test_positions_that_are_written_well_are_taken_as_they_are(series: Write) -> None:
    volume = read_series(series(lambda k: (-3.04, 7.77, -41.3 + 0.625 * k), form="{:.4f}"))
    assert not volume.notes and volume.spacing[0] == pytest.approx(0.625, abs=1e-9)
    oblique = read_series(series(lambda k: (0.001 * k, 0, 2 * k), "drift"))  # a hair beside, as some scanners write
    assert not oblique.notes and oblique.x_CDHW.dtype == np.int16


def reason(folder: Path) -> str:
    with pytest.raises(VolumeError) as caught:
        read_series(folder)
    return str(caught.value)


def test_uneven_slices_and_shifted_ones_are_refused(series: Write) -> None:
    assert "slices at uneven distances: 1.4" in reason(series(lambda k: (0, 0, k + 0.4 * (k > 6)), "uneven"))
    assert "1 slice is missing" in reason(series(lambda k: (0, 0, 2 * k + 2 * (k > 9)), "missing", form="{:.0f}"))
    assert "do not lie over each other" in reason(series(lambda k: (3 * (k == 4), 0, k), "shifted"))
    assert "drift by 63 degrees" in reason(series(lambda k: (2 * k, 0, k), "steep"))


OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("RTSTRUCT", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3", "Rows": None, "PixelData": None}, "RT Structure Set"),
    ("SEG", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "Segmentation Storage"),
    ("SR", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.22", "Rows": None, "Columns": None}, "SR Storage"),
    ("PR", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1", "Rows": None}, "Presentation State"),
    ("KO", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.59", "Rows": None}, "Key Object"),
    ("RTDOSE", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"}, "RT Dose"),
    ("SEG", {"SOPClassUID": None}, "1 SEG"),
    ("RWV", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.67", "Rows": None, "PixelData": None}, "Real World Value"),
    ("MR", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66", "Rows": None, "PixelData": None}, "Raw Data Storage"),
    ("OT", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "Secondary Capture"),
    ("CT", {"SOPClassUID": CT, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "1 localizer"),
]  # fmt: skip


@pytest.mark.parametrize(("modality", "elements", "word"), OTHERS, ids=[f"{o[0]}-{o[2]}" for o in OTHERS])
@pytest.mark.parametrize("own", [True, False])
def test_what_lies_beside_the_slices_is_passed_over_and_told(
    series: Write, modality: str, elements: dict[str, Any], word: str, own: bool
) -> None:
    folder = series(lambda k: (0, 0, k))
    alone = read_series(folder)
    uid = "1.2.3" if own else generate_uid()
    write(folder / "other", np.zeros((9, 8), np.uint16), Modality=modality, SeriesInstanceUID=uid, **elements)
    volume = read_series(folder)
    np.testing.assert_array_equal(volume.x_CDHW, alone.x_CDHW)
    assert word in volume.notes["passed_over"] and not alone.notes
    for file in folder.glob("*.dcm"):
        file.unlink()
    assert "no slices, but 1" in reason(folder) or "does not place it" in reason(folder)


def test_localizers_alone_and_copies(series: Write) -> None:
    scouts = series(lambda k: (0, 0, k), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SOPInstanceUID=None)
    assert len(read_series(scouts).x_CDHW[0]) == COUNT
    folder = series(lambda k: (0, 0, k), "twice")
    (folder / "copy").write_bytes((folder / "021.dcm").read_bytes())
    volume = read_series(folder)
    assert len(volume.x_CDHW[0]) == COUNT and "1 slice that is there twice" in volume.notes["copies"]


def test_a_slice_without_its_rescale_is_refused(series: Write) -> None:
    gone = series(
        lambda k: (0, 0, k), each=lambda k: {"RescaleSlope": None, "RescaleIntercept": None} if k == 4 else {}
    )
    assert "1 of 12 slices lack the rescale" in reason(gone)
    for name in ("RescaleSlope", "RescaleIntercept"):
        part = series(lambda k: (0, 0, k), name, each=lambda k, name=name: {name: None} if k in (2, 4) else {})
        assert "2 of 12 slices lack the rescale" in reason(part)
        assert read_series(series(lambda k: (0, 0, k), f"all {name}", **{name: None})).x_CDHW.dtype == np.int16
    other = read_series(series(lambda k: (0, 0, k), "other", each=lambda k: {"RescaleIntercept": -1024 if k else 0}))
    assert "2 different rescales" in other.notes["rescales"] and other.x_CDHW[0, 0, 0, 0] == 1000
    pet = {"Modality": "PT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128"}  # each slice has its own
    assert not read_series(series(lambda k: (0, 0, k), "pet", each=lambda k: {"RescaleSlope": k + 1}, **pet)).notes
    bare = read_series(series(lambda k: (0, 0, k), "bare", RescaleSlope=None, RescaleIntercept=None))
    assert "not Hounsfield" in bare.notes["no_rescale"]
    mri = read_series(series(lambda k: (0, 0, k), "mr", RescaleSlope=None, RescaleIntercept=None, Modality="MR"))
    assert not mri.notes


@pytest.mark.parametrize(("name", "values", "word"), [
    ("AcquisitionNumber", (1, 2), "2 acquisitions"),
    ("TemporalPositionIdentifier", (1, 2), "2 time points"),
    ("EchoTime", (10, 80), "2 echoes"),
    ("DiffusionBValue", (0.0, 800.0), "2 b-values"),
    ("ConvolutionKernel", ("B30f", "B70f"), "2 kernels"),
    ("FrameOfReferenceUID", ("1.2.3.4", "1.2.3.5"), "2 frames of reference"),
    ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]), "2 kinds of image"),
])  # fmt: skip
def test_several_kinds_of_slices_are_told_or_refused(series: Write, name: str, values: Any, word: str) -> None:
    """Interleaved at places of their own: told. Two at each place: refused, with what they differ in."""
    turns = series(lambda k: (0, 0, k), each=lambda k: {name: values[k % 2]})
    assert any(word in note for note in read_series(turns).notes.values())
    twice = series(lambda k: (0, 0, k // 2), "twice", each=lambda k: {name: values[k % 2]})
    text = reason(twice)
    assert f"12 slices at 6 places: {word}" in text and name in text and "a folder of its own" in text
    plain = series(lambda k: (0, 0, k // 2), "plain")
    assert "two slices at one place" in reason(plain)


def test_acquisitions_one_after_the_other_need_no_word(series: Write) -> None:
    assert not read_series(series(lambda k: (0, 0, k), each=lambda k: {"AcquisitionNumber": k // 6})).notes
    assert not read_series(series(lambda k: (0, 0, k), "steps", each=lambda k: {"AcquisitionNumber": k})).notes


@pytest.mark.parametrize("missing", ["Rows", "Columns", "SeriesInstanceUID", "ImagePositionPatient", "PixelSpacing"])
def test_a_missing_tag_of_a_slice_is_named(series: Write, missing: str) -> None:
    folder = series(lambda k: (0, 0, k), each=lambda k: {missing: None} if k == 3 else {})
    assert missing in reason(folder) and "021.dcm" in reason(folder)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("slope", ["1", "0.37"])
def test_a_nifti_of_a_series_is_the_same_volume(series: Write, tmp_path: Path, kind: Any, slope: str) -> None:
    """As dcm2niix writes it: rows from below, the place in 32-bit numbers."""
    draw = np.random.default_rng(0)
    at = np.array([-173.3, 211.7, -904.25])
    folder = series(lambda k: at + [0, 0, 1.25 * k], pixels=lambda k: draw.integers(0, 2000, SIZE).astype(np.int16),
                    RescaleSlope=slope, PixelSpacing=[0.703125, 0.703125])  # fmt: skip
    volume = read_series(folder)
    if slope != "1" and kind in (np.int16, np.int32):
        return
    flipped = volume.affine @ np.diag([-1.0, 1, 1, 1])
    flipped[:3, 3] = (volume.affine @ [volume.x_CDHW.shape[3] - 1, 0, 0, 1])[:3]
    image = nib.Nifti1Image(volume.x_CDHW[0].T[::-1].astype(kind), flipped)
    for suffix in ("nii", "nii.gz"):
        nib.save(image, tmp_path / f"a.{suffix}")
        assert identity(read_nifti(tmp_path / f"a.{suffix}")) == identity(volume)


@pytest.mark.parametrize(("step", "spacing", "tilt", "slope"), [
    ((0, 0, 0.625), 0.6, 0, "1"), ((0, 0, 0.75), 0.8, 0, "1"), ((0, 0, 1.25), 1.25, 0, "0.0123456789"),
    ((0, 0, 2.5), 2.3492, 20, "1"), ((0, 0, 2.5), 2.4148, -15, "0.37"),
])  # fmt: skip
def test_a_nifti_of_a_rounded_scaled_or_tilted_series_is_the_same_volume(
    series: Write, tmp_path: Path, step: Any, spacing: float, tilt: float, slope: str
) -> None:
    """As dcm2niix 1.0.20260724 writes them: the distance of the first two slices, a slope of 32 bits, sheared."""
    draw, angle = np.random.default_rng(0), np.deg2rad(tilt)
    stored = draw.integers(0, 2000, (12, *SIZE)).astype(np.int16)
    form = "{:.2f}" if step[2] > 1 else "{:.1f}"
    folder = series(lambda k: np.array(step) * k, "s", form, pixels=lambda k: stored[k], RescaleSlope=slope,
                    RescaleIntercept="-1024.5",
                    ImageOrientationPatient=[1, 0, 0, 0, np.cos(angle), -np.sin(angle)])  # fmt: skip
    volume = read_series(folder)
    assert bool(tilt) == ("tilt" in volume.notes)
    affine = np.diag([-0.8, 0.8, spacing, 1.0])
    affine[2, 1] = 0.8 * np.sin(angle)
    image = nib.Nifti1Image(stored.transpose(2, 1, 0)[:, ::-1], affine)
    image.header.set_slope_inter(np.float32(slope), -1024.5)
    nib.save(image, tmp_path / "a.nii.gz")
    nifti = read_nifti(tmp_path / "a.nii.gz")
    assert identity(nifti) == identity(volume)
    assert bool(tilt) == ("sheared" in nifti.notes)


def identity(volume: Volume) -> str:
    return volume.identity or of_voxels(volume.x_CDHW)
