"""NIfTI files and DICOM series: orientation, spacing, values, and everything that is wrong with them named."""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import affine_transform

from medtrain.io.content import of_voxels
from medtrain.io.dicom_series import read_series
from medtrain.io.nifti import read_channels, read_nifti
from medtrain.io.resample import labels_to_spacing, to_spacing
from medtrain.io.volume import VolumeError
from medtrain.io.volume_source import channels_of, read_volume
from tests.volumes import save, save_series

VOXELS = np.random.default_rng(0).integers(-1000, 1000, (7, 6, 5)).astype(np.int16)  # right, front, head


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PSL", "IAR"])
def test_orientation_is_that_of_the_body_whatever_the_file_s(tmp_path: Path, orientation: str) -> None:
    volume = read_nifti(save(tmp_path / "a.nii.gz", VOXELS, (0.5, 1.0, 3.0), orientation))
    assert np.array_equal(volume.x_CDHW[0], VOXELS.transpose(2, 1, 0))
    assert volume.spacing == (3.0, 1.0, 0.5)
    assert np.allclose(volume.affine, np.diag([0.5, 1.0, 3.0, 1.0]))
    assert volume.source.orientation == orientation


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.7)])
def test_one_anatomy_gives_the_same_voxels_however_it_is_stored(tmp_path: Path, spacing: tuple[float, ...]) -> None:
    files = [save(tmp_path / f"{o}.nii", VOXELS, (0.5, 1.0, 3.0), o) for o in ("RAS", "LPS", "PSL")]
    one, *others = [to_spacing(read_nifti(file), spacing) for file in files]  # type: ignore[arg-type]
    assert one.spacing == pytest.approx(spacing)
    for other in others:
        assert np.allclose(one.x_CDHW, other.x_CDHW, atol=1e-3)
        assert np.allclose(one.affine, other.affine)


def test_finer_voxels_are_scipy_s_linear_interpolation_in_the_same_place(tmp_path: Path) -> None:
    volume = read_nifti(save(tmp_path / "a.nii", VOXELS, (1.0, 2.0, 3.0)))
    finer = to_spacing(volume, (1.5, 1.0, 0.5))
    to_old = np.linalg.inv(volume.affine) @ finer.affine
    expected = affine_transform(
        VOXELS.astype(float), to_old[:3, :3], to_old[:3, 3], finer.x_CDHW.shape[:0:-1], order=1, mode="nearest"
    )
    assert np.allclose(finer.x_CDHW[0].T, expected, atol=1e-3)


def test_coarser_voxels_average_what_lies_between_them(tmp_path: Path) -> None:
    stripes = np.tile(np.array([0, 100], np.int16), 20)[:, None, None] * np.ones((1, 4, 4), np.int16)
    coarse = to_spacing(read_nifti(save(tmp_path / "a.nii", stripes)), (1.0, 1.0, 4.0)).x_CDHW[0]
    assert coarse.shape == (4, 4, 10)
    assert np.abs(coarse[..., 1:-1] - 50).max() < 1e-3  # plain linear interpolation would give 0, 50 or 100


def test_labels_stay_labels(tmp_path: Path) -> None:
    labels = np.random.default_rng(1).choice(np.array([0, 3, 7], np.uint8), (9, 9, 9))
    resampled = labels_to_spacing(read_nifti(save(tmp_path / "a.nii", labels)), (0.7, 1.3, 1.0))[0]
    assert set(np.unique(resampled.x_CDHW)) == {0, 3, 7}


def test_a_fourth_dimension_is_channels(tmp_path: Path) -> None:
    four = np.stack([VOXELS, VOXELS + 1], -1)
    file = save(tmp_path / "a.nii.gz", four)
    assert read_channels(file) == 2
    assert np.array_equal(read_nifti(file).x_CDHW, four.transpose(3, 2, 1, 0))


def test_slope_and_intercept_count(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    image.header.set_slope_inter(2, -1024)
    nib.save(image, tmp_path / "a.nii")
    # nibabel stores (value - intercept) / slope: the values come back
    assert np.allclose(read_nifti(tmp_path / "a.nii").x_CDHW[0].T, nib.load(tmp_path / "a.nii").get_fdata())


@pytest.mark.parametrize(("slope", "inter"), [(1e5, 0), (1, 3e9), (-7e4, 12), (3e38, 0)])
def test_scaled_values_never_wrap(tmp_path: Path, slope: float, inter: float) -> None:
    """Whole slopes of short integers may give more than 32 bits hold, as int16 of raw counts do."""
    nib.save(nib.Nifti1Image(VOXELS, np.eye(4)), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[112:120] = np.array([slope, inter], "<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "a.nii").write_bytes(raw)
    x = read_nifti(tmp_path / "a.nii").x_CDHW[0].T
    expected = VOXELS.astype(np.float64) * np.float32(slope) + np.float64(np.float32(inter))
    with np.errstate(over="ignore"):
        assert np.array_equal(x, expected.astype(np.float32))


def test_bad_files_say_why(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32))
    (tmp_path / "cut.nii.gz").write_bytes(whole.read_bytes()[:9000])
    plain = gzip.decompress(whole.read_bytes())
    (tmp_path / "cut.nii").write_bytes(plain[:20000])
    (tmp_path / "text.nii").write_text("no volume")
    nib.save(nib.Nifti1Image(VOXELS[:, :, 0], np.eye(4)), tmp_path / "flat.nii")
    save(tmp_path / "slice.nii", VOXELS[:, :, :1])
    damaged = bytearray(plain)
    damaged[80:84] = b"\0\0\0\0"  # pixdim[1]
    (tmp_path / "zero.nii").write_bytes(damaged)
    expected = {
        "cut.nii.gz": "truncated or damaged",
        "cut.nii": "truncated or damaged",
        "text.nii": "no NIfTI file",
        "flat.nii": "a picture, not a volume",
        "slice.nii": "7 x 6 x 1 voxels: a picture",
        "zero.nii": "a spacing that is zero",
        "gone.nii": "no such file",
    }
    for name, reason in expected.items():
        with pytest.raises(VolumeError, match=reason):
            read_nifti(tmp_path / name)


def test_a_packed_file_is_read_to_its_end(tmp_path: Path) -> None:
    """Deflated bytes with one flipped bit mostly unpack; the checksum behind them does not fit, and gzip -t says so."""
    whole = save(tmp_path / "whole.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32))
    surfer = nib.MGHImage(np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32), np.eye(4))
    nib.save(surfer, tmp_path / "whole.mgz")
    for suffix in (".mha", ".nrrd"):
        sitk.WriteImage(sitk.ReadImage(str(whole)), str(tmp_path / f"whole{suffix}"), useCompression=True)
    for file in (tmp_path / "whole.mha", tmp_path / "whole.nrrd"):
        for number, at in enumerate(np.random.default_rng(2).integers(2000, 20000, 20)):
            flipped = bytearray(file.read_bytes())
            flipped[at] ^= 1 << number % 8
            (bad := tmp_path / f"{number}{file.suffix}").write_bytes(flipped)
            with pytest.raises(VolumeError, match="damaged"):
                read_volume(bad)
        read_volume(file)
    for file in (whole, tmp_path / "whole.mgz"):
        raw, suffix = file.read_bytes(), "".join(file.suffixes)
        draw, silent = np.random.default_rng(1), 0
        for number in range(60):
            flipped, at = bytearray(raw), int(draw.integers(400, len(raw)))
            flipped[at] ^= 1 << int(draw.integers(8))
            bad = tmp_path / f"{number}{suffix}"
            bad.write_bytes(flipped)
            try:
                np.asanyarray(nib.load(bad).dataobj)
                silent += 1
            except Exception:  # the stream itself is broken: everyone sees that
                pass
            with pytest.raises(VolumeError, match="damaged"):
                read_volume(bad)
        assert silent > 40  # nibabel alone takes most of them
        (tmp_path / f"more{suffix}").write_bytes(raw + gzip.compress(b"of another file"))  # a second part of the stream
        (tmp_path / f"short{suffix}").write_bytes(raw[:-5])
        (tmp_path / f"rest{suffix}").write_bytes(raw + b"\0\0garbage")
        for name in ("short", "rest"):
            with pytest.raises(VolumeError, match="damaged"):
                read_volume(tmp_path / f"{name}{suffix}")
        read_volume(tmp_path / f"more{suffix}")


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PSL"])
def test_freesurfer_and_itk_files_are_the_same_volume(tmp_path: Path, orientation: str) -> None:
    nifti = save(tmp_path / "a.nii.gz", VOXELS, (0.5, 1.0, 3.0), orientation)
    image = nib.load(nifti)
    nib.save(nib.MGHImage(np.asarray(image.dataobj, np.int16), image.affine), tmp_path / "a.mgz")
    sitk.WriteImage(sitk.ReadImage(str(nifti)), str(tmp_path / "a.mha"), useCompression=True)
    sitk.WriteImage(sitk.ReadImage(str(nifti)), str(tmp_path / "a.nrrd"))
    expected = read_nifti(nifti)
    for name in ("a.mgz", "a.mha", "a.nrrd"):
        volume = read_volume(tmp_path / name)
        assert np.array_equal(volume.x_CDHW, expected.x_CDHW) and np.allclose(volume.affine, expected.affine, atol=1e-4)
        assert volume.source.orientation == orientation and volume.spacing == pytest.approx((3.0, 1.0, 0.5))
        assert of_voxels(volume.x_CDHW) == of_voxels(expected.x_CDHW)
    vector = sitk.GetImageFromArray(np.stack([VOXELS, VOXELS + 1], -1), isVector=True)
    sitk.WriteImage(vector, str(tmp_path / "two.mha"))
    assert channels_of([str(tmp_path / "two.mha")]) == 2 and read_volume(tmp_path / "two.mha").x_CDHW.shape[0] == 2


def test_volumes_that_are_not_read_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = sitk.GetImageFromArray(VOXELS)
    sitk.WriteImage(image, str(tmp_path / "a.mhd"))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    attached = (tmp_path / "a.nrrd").read_bytes().replace(b"encoding", b"data file: b.raw\nencoding", 1)
    (tmp_path / "b.nrrd").write_bytes(attached)
    (tmp_path / "c.mha").write_bytes(b"ObjectType = Image\nNDims = 3\n")
    whole = tmp_path / "d.mha"
    sitk.WriteImage(image, str(whole))
    (tmp_path / "e.mha").write_bytes(whole.read_bytes()[:-40])
    expected = {"a.mhd": r"save it as \.nii\.gz", "b.nrrd": "in another file", "c.mha": "damaged", "e.mha": "damaged"}
    for name, reason in expected.items():
        with pytest.raises(VolumeError, match=reason):
            read_volume(tmp_path / name)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(VolumeError, match=r"pip install 'medtrain\[itk\]'"):
        read_volume(whole)


def test_where_a_header_leaves_in_doubt_where_it_lies_is_told(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, np.diag([1, 1, 2, 1]))
    image.header.set_qform(np.diag([1, 1, 2, 1]), 1)
    nib.save(image, tmp_path / "agree.nii")
    image.header.set_qform(np.diag([-1, 1, 2, 1]), 1)
    nib.save(image, tmp_path / "flipped.nii")
    moved = np.diag([1.0, 1, 2, 1])
    moved[0, 3] = 7
    image.header.set_qform(moved, 1)
    nib.save(image, tmp_path / "moved.nii")
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    nib.save(nib.Nifti1Image(VOXELS, None, image.header), tmp_path / "neither.nii")
    notes = {file.stem: read_nifti(file).notes for file in tmp_path.iterdir()}
    assert notes["agree"] == {}
    # the far corner lies 2 x 6 mm away, and the axes differ in one letter
    assert (
        notes["flipped"]["two_places"]
        == "qform and sform disagree by 12 mm; sform is taken, whose axes are RAS, not LAS"
    )
    assert notes["moved"]["two_places"] == "qform and sform disagree by 7 mm; sform is taken"
    assert notes["neither"]["no_place"].startswith("has neither qform nor sform")


def test_a_series_is_the_volume_that_it_shows(tmp_path: Path) -> None:
    slices = np.random.default_rng(0).integers(-1000, 1000, (6, 5, 4)).astype(np.int16)
    volume = read_series(save_series(tmp_path / "ct", slices, (2.5, 0.8, 0.6)))
    # rows run to the back and columns to the left (LPS): both are turned round
    assert np.array_equal(volume.x_CDHW[0], slices[:, ::-1, ::-1])
    assert volume.spacing == pytest.approx((2.5, 0.8, 0.6))
    assert volume.source.orientation == "LPS"
    corner = volume.affine @ [3, 4, 0, 1]  # the first pixel of the first slice, in RAS
    assert corner[:3] == pytest.approx([10.0, 20.0, 5.0])


def test_series_that_are_none_say_why_and_name_nobody(tmp_path: Path) -> None:
    slices = np.zeros((6, 5, 4), np.int16)

    def reason(name: str) -> str:
        with pytest.raises(VolumeError) as found:
            read_series(tmp_path / name)
        assert "SECRET" not in str(found.value) and "Doe" not in str(found.value) and "1.2.3" not in str(found.value)
        return str(found.value)

    save_series(tmp_path / "gap", slices, (2.5, 1, 1))
    next(iter(sorted((tmp_path / "gap").glob("021*")))).unlink()
    assert "1 slice is missing: 5 mm between 014.dcm and 028.dcm, elsewhere 2.5" in reason("gap")
    save_series(tmp_path / "two", slices[:2], (2.5, 1, 1))
    save_series(tmp_path / "other", slices[:3], (2.5, 1, 1), SeriesInstanceUID="1.2.4", SeriesNumber=9)
    for file in (tmp_path / "other").iterdir():
        file.rename(tmp_path / "two" / f"x{file.name}")
    assert "2 series in one folder: number 9 (CT, 3 of 5 x 4); number 2 (CT, 2 of 5 x 4)" in reason("two")
    save_series(tmp_path / "twice", slices, (0.0, 1, 1))
    assert "two slices at one place" in reason("twice")
    save_series(tmp_path / "nowhere", slices, (1, 1, 1), ImagePositionPatient=None)
    assert "ImagePositionPatient" in reason("nowhere")
    save_series(tmp_path / "cut", slices, (1, 1, 1))
    third = sorted((tmp_path / "cut").iterdir())[2]
    third.write_bytes(third.read_bytes()[:-9])
    assert reason("cut").startswith(f"{third.name}: truncated DICOM")
    (tmp_path / "empty").mkdir()
    assert reason("empty") == "a folder without DICOM files"


@pytest.mark.parametrize("slope", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_slope_that_is_no_number_is_told(tmp_path: Path, slope: float, suffix: str) -> None:
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    content = bytearray(nib.Nifti1Image(voxels, np.eye(4)).to_bytes())
    content[112:120] = struct.pack("<ff", slope, 7)
    file = tmp_path / f"a{suffix}"
    file.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    volume = read_nifti(file)
    assert np.array_equal(volume.x_CDHW[0].T, voxels) and f"scl_slope of {slope}" in volume.notes["no_scale"]
