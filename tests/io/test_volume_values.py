"""What is stored of a volume's grey levels: the body's in fine steps, whatever single voxels hold."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from medtrain.io import resample, small_regions
from medtrain.io.nifti import read_nifti
from medtrain.io.resample import labels_to_spacing, to_spacing
from medtrain.io.store.voxel_values import prepared_image, prepared_mask
from medtrain.io.volume import Volume, VolumeError, canonical

BODY = np.random.default_rng(0).normal(5, 3, (40, 36, 32)).astype(np.float32)
BODY[6:34, 6:30, 6:26] += 95
BODY[10:20, 10:20, 10:20] += 40


def volume_of(voxels: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
    return canonical(voxels, np.diag([*spacing, 1.0]), "NIfTI", str(voxels.dtype))


def kept(voxels: np.ndarray, **how: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """The values that come back, along the axes of `voxels`, and the facts."""
    stored, facts = prepared_image(volume_of(voxels), how.pop("spacing", None), **how)
    return (stored[0].astype(np.float64) * facts["scale"][0] + facts["offset"][0]).T, facts


def with_values(*values: float, kind: str = "f4", base: np.ndarray = BODY, share: float = 0.0) -> np.ndarray:
    """The body with single voxels of other values; with a share, that many of each."""
    changed = (np.abs(base) if kind.startswith("u") else base).astype(kind)
    for n, value in enumerate(values):
        changed[n * 3, 0, 0] = value
        if share:
            changed[n * 8 : n * 8 + int(share * 40), :, :] = value
    return changed


SPIKES = {
    "1e6": with_values(1e6),
    "3e38": with_values(3e38),
    "-3e38 and 3e38": with_values(-3e38, 3e38),
    "1e300": with_values(1e300, kind="f8"),
    "int32": with_values(2**31 - 1, -(2**31), kind="i4"),
    "uint32": with_values(2**32 - 1, kind="u4"),
    "int16": with_values(32767, kind="i2"),
    "no data, few": with_values(-1e30),
    "no data, many": with_values(-1e30, share=0.1),
    "no data above": with_values(1e30, share=0.1),
}


@pytest.mark.parametrize("name", SPIKES)
@pytest.mark.parametrize("spacing", [None, (2.0, 1.0, 1.5)])
def test_a_voxel_that_has_run_away_changes_no_other(name: str, spacing: tuple[float, float, float] | None) -> None:
    voxels = SPIKES[name]
    wild = np.abs(voxels.astype(np.float64)) > 1000
    values, facts = kept(voxels, spacing=spacing)
    plain, expected = kept(with_values(kind=voxels.dtype.str[1:]), spacing=spacing)
    assert facts["scale"][0] <= max((expected["high"][0] - expected["low"][0]) / 256, expected["scale"][0])
    assert facts["box"] == expected["box"]  # the body, not the one voxel
    assert (facts["low"][0], facts["high"][0]) == pytest.approx((expected["low"][0], expected["high"][0]), abs=1.01)
    near = ndimage.binary_dilation(wild, iterations=3)
    if spacing:
        near = to_spacing(volume_of(near.astype(np.float32)), spacing).x_CDHW[0].T > 0
    assert np.abs(values - plain)[~near].max() <= facts["scale"][0] + expected["scale"][0]
    note = facts["notes"].get("extreme") or facts["notes"]["padding"]
    assert f"{wild.sum():,} of {wild.size:,} voxels" in note


@pytest.mark.parametrize("share", [0.001, 0.003])
@pytest.mark.parametrize("spacing", [None, (2.0, 1.0, 1.5)])
def test_scattered_voxels_that_have_run_away_leave_the_window(share: float, spacing: Any) -> None:
    """As many as a percentile leaves out of the volume, but not out of the box of its body."""
    voxels, draw = BODY.copy(), np.random.default_rng(1)
    body = voxels[6:34, 6:30, 6:26]
    body[np.unravel_index(draw.permutation(body.size)[: int(share * voxels.size)], body.shape)] = 1e6
    _, plain = kept(BODY, spacing=spacing)
    _, facts = kept(voxels, spacing=spacing)
    assert facts["box"] == plain["box"] and "extreme" in facts["notes"]
    ends = np.array([[f["low"][0], f["high"][0]] for f in (facts, plain)])
    assert np.abs(ends[0] - ends[1]).max() < (1 if spacing is None else 75)  # up to a span, where they are blurred


@pytest.mark.parametrize("count", [1, 7, 40])
def test_a_sparse_volume_has_a_window(count: int) -> None:
    voxels = np.zeros((40, 36, 32), np.float32)
    voxels.reshape(-1)[np.arange(1, count + 1) * 997] = 8 + np.arange(count)
    values, facts = kept(voxels)
    assert facts["low"][0] == 0 and facts["high"][0] >= 8  # and not a window of no width, which shows nothing
    assert np.abs(values - voxels).max() <= facts["scale"][0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_a_bad_row(bad: float) -> None:
    with pytest.raises(VolumeError, match=r"1 of 46,080 voxels are NaN or infinite"):
        prepared_image(volume_of(with_values(bad)), None)


@pytest.mark.parametrize("scale", [1e33, 1e40, 1e300, -1e36])
def test_grey_levels_beyond_all_units_are_a_bad_row(scale: float) -> None:
    with pytest.raises(VolumeError, match=r"grey levels up to 1.*more than 1e\+30"):
        kept(BODY.astype(np.float64) * scale)
    assert kept(BODY.astype(np.float64) * 1e25)[1]["high"][0] > 1e26


@pytest.mark.parametrize("padding", [-3024, -2000, -32768])
def test_padding_around_a_field_of_view_is_no_part_of_the_window(padding: int) -> None:
    draw = np.random.default_rng(1)
    ct = draw.normal(-1000, 5, (64, 64, 20))
    ct[16:48, 16:48] = draw.normal(40, 30, (32, 32, 20))
    round_ = (np.indices((64, 64)) - 31.5).__pow__(2).sum(0) < 31**2
    padded = np.where(round_[..., None], ct, padding).astype(np.int16)
    values, facts = kept(padded)
    _, expected = kept(ct.astype(np.int16))
    assert facts["box"] == expected["box"]
    assert (facts["low"][0], facts["high"][0]) == pytest.approx((expected["low"][0], expected["high"][0]), abs=25)
    assert np.array_equal(values[round_], padded[round_])  # whole numbers, to the unit
    assert f"{(~round_).sum() * 20:,} of {padded.size:,} voxels hold {padding}" in facts["notes"]["padding"]
    resampled, _ = kept(padded, spacing=(1.0, 2.0, 2.0))
    assert resampled.min() > -1400  # -3024 doesn't shine into the air beside it


def test_zero_is_no_padding_nor_is_what_is_bright() -> None:
    skull_stripped = np.where(np.indices(BODY.shape)[0] < 20, 0, BODY + 300).astype(np.float32)
    lesion = BODY.copy()
    lesion[5:9, 5:9, 5:9] = 900  # of one value, as a phantom's
    sparse = np.zeros(BODY.shape, np.float32)
    sparse[3, 3, 3:6] = 7, 8, 9
    for voxels in (skull_stripped, lesion, sparse, (sparse > 0).astype(np.int16)):
        values, facts = kept(voxels)
        assert not {"padding", "extreme"} & facts["notes"].keys()
        assert np.abs(values - voxels).max() <= facts["scale"][0]


def test_stored_by_the_window_where_there_is_one() -> None:
    wide = np.random.default_rng(2).uniform(-1e5, 1e5, (20, 20, 20)).astype(np.float32)
    wide[:2, :2, :2] = np.linspace(-49, 49, 8).reshape(2, 2, 2)
    values, facts = kept(wide, window=(-50.0, 50.0))
    within = np.abs(wide) <= 50
    assert facts["scale"][0] == pytest.approx(300 / 65535) and within.sum() >= 8
    assert np.abs(values - wide)[within].max() <= facts["scale"][0] * 0.51
    assert ((values > 50) == (wide > 50)).all() and ((values < -50) == (wide < -50)).all()
    assert "coarse" not in facts["notes"]


def test_coarse_steps_are_told_and_resampled_whole_numbers_are_finer() -> None:
    few = np.random.default_rng(3).integers(0, 11, (20, 20, 20)).astype(np.uint8)
    _, facts = kept(few)
    assert facts["scale"] == [1.0] and not facts["notes"]  # as fine as the file
    values, facts = kept(few, spacing=(1.5, 1.5, 1.5))
    exact = to_spacing(volume_of(few), (1.5, 1.5, 1.5)).x_CDHW[0].T
    assert "coarse" not in facts["notes"] and np.abs(values - exact).max() < 1e-3
    _, facts = kept(np.random.default_rng(3).integers(-1000, 1000, (9, 9, 9)).astype(np.int16), window=(0.0, 100.0))
    assert "100 steps of grey in its window" in facts["notes"]["coarse"]


@pytest.mark.parametrize("kind", ["f8", "i4", "u4", "i8"])
def test_far_from_zero_keeps_its_digits(kind: str) -> None:
    off = 3e9 if kind in ("f8", "u4", "i8") else 2e9
    voxels = np.rint(BODY * 100).astype("f8") + off
    for spacing in (None, (1.0, 2.0, 1.0)):
        values, facts = kept(voxels.astype(kind), spacing=spacing)
        plain, _ = kept(np.rint(BODY * 100), spacing=spacing)
        assert np.abs(values - off - plain).max() <= 1.01 and not facts["notes"]


def test_a_constant_volume_is_told() -> None:
    for voxels in (np.full((4, 4, 4), -1024, np.int16), np.full((4, 4, 4), 0.3, np.float32)):
        values, facts = kept(voxels)
        assert "all voxels have the same value" in facts["notes"]["constant"]
        assert values == pytest.approx(voxels.astype(float), abs=1e-6)


def scaled_mask(path: Path, labels: np.ndarray, kind: type[Any]) -> Path:
    """Labels as tools write them that compute in floating point and save with a scale."""
    image = nib.Nifti1Image(labels.astype(np.float64), np.eye(4))
    image.set_data_dtype(kind)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("most", [1, 2, 2035])
def test_labels_written_through_floats_are_labels(tmp_path: Path, most: int) -> None:
    labels = np.random.default_rng(0).choice([0, 1, most], (12, 12, 12))
    volume = read_nifti(scaled_mask(tmp_path / "m.nii.gz", labels, np.int16))
    exact = np.array_equal(volume.x_CDHW, np.rint(volume.x_CDHW))
    assert volume.x_CDHW.dtype == np.float32 and exact == (most == 1)
    stored, facts = prepared_mask(volume, None)
    assert np.array_equal(stored[0].T, labels) and stored.dtype == (np.uint8 if most < 256 else np.uint16)
    assert exact or "rounded" in facts["notes"]["rounded_labels"]
    whole = prepared_mask(volume_of(labels.astype(np.int16)), None)[1]
    assert facts["identity"] == whole["identity"] and not whole["notes"]


@pytest.mark.parametrize("wrong", [0.5, 1.03, -1, 70000, np.nan])
def test_what_is_no_label_is_refused_with_its_number(wrong: float) -> None:
    labels = np.zeros((5, 5, 5), np.float32)
    labels[0, 0] = wrong
    with pytest.raises(VolumeError, match=r"5 of 125 voxels are no labels"):
        prepared_mask(volume_of(labels), None)


def test_small_regions_survive_larger_voxels() -> None:
    mask = np.zeros((40, 40, 40), np.uint16)
    spots = [(1, 1, 1), (1, 1, 9), (17, 18, 21), (38, 2, 39), (39, 39, 39)]
    for spot in spots:
        mask[spot] = 2035
    mask[20:30, 20:30, 20:30] = 1
    mask[25, 25, 25] = 2  # a lesion within an organ
    coarse, regained = labels_to_spacing(volume_of(mask), (4.0, 4.0, 4.0))
    new = coarse.x_CDHW[0].T
    plain = mask[2::4, 2::4, 2::4]
    assert set(np.unique(new)) == {0, 1, 2, 2035} and (new == 2035).sum() == len(spots)
    assert regained == len(spots) + 1 - int((plain == 2035).sum()) - int((plain == 2).sum())
    for spot in spots:  # each marks the voxel that it lies in
        assert new[tuple(np.array(spot) // 4)] == 2035
    facts = prepared_mask(volume_of(mask), (4.0, 4.0, 4.0))[1]
    assert facts["marked"] == (new > 0).sum() and f"{regained} marked regions" in facts["notes"]["small_regions"]
    assert labels_to_spacing(volume_of(mask), (1.0, 1.0, 1.0))[1] == 0
    assert labels_to_spacing(volume_of(mask), (0.5, 0.5, 0.5))[1] == 0


def plainly_regained(old: np.ndarray, new: np.ndarray, volume: Volume, placed: Volume) -> np.ndarray:
    """What the rule says, region by region of a whole volume: all voxels of `new`, D, H, W."""
    new = new.copy()
    between = np.linalg.inv(placed.affine) @ volume.affine
    nearest = np.zeros_like(old, bool)
    index = np.stack(np.indices(new.shape), -1).reshape(-1, 3)[:, ::-1]
    back = np.linalg.inv(between)
    at = np.clip(np.floor(index @ back[:3, :3].T + back[:3, 3] + 0.5).astype(int), 0, np.array(old.shape[::-1]) - 1)
    nearest[tuple(at[:, ::-1].T)] = True
    for label in range(1, int(old.max()) + 1):
        regions, count = ndimage.label(old == label, np.ones((3, 3, 3)))
        for n in range(1, count + 1):
            if not nearest[regions == n].any():
                points = np.argwhere(regions == n)[:, ::-1] @ between[:3, :3].T + between[:3, 3]
                near = np.clip(np.floor(points + 0.5).astype(int), 0, np.array(new.shape[::-1]) - 1)[:, ::-1]
                places, votes = np.unique(near, axis=0, return_counts=True)
                new[tuple(places[votes.argmax()])] = label
    return new


@pytest.mark.parametrize("spacing", [(2.7, 3.2, 2.9), (1.37, 1.93, 2.11), (5.3, 1.0, 7.7), (0.63, 4.1, 2.2)])
@pytest.mark.parametrize("slab", [1, 2000, 1 << 19])
@pytest.mark.parametrize("seed", range(2))
def test_regions_are_lost_whatever_their_form(
    monkeypatch: pytest.MonkeyPatch, spacing: tuple[float, float, float], seed: int, slab: int
) -> None:
    monkeypatch.setattr(small_regions, "SLAB", slab)
    draw = np.random.default_rng(seed)
    mask = draw.choice([0, 0, 0, 0, 0, 0, 0, 1, 2], (13, 30, 26)).astype(np.uint8)
    mask[:, 12:18] = 0
    mask[4:9, 14, 3:20:2] = 3  # threads
    mask[:, :, 20:] = ndimage.gaussian_filter(draw.normal(size=(13, 30, 6)), 1) > (0.05, 0.4)[seed]  # and sponges
    volume = volume_of(mask)
    placed, regained = labels_to_spacing(volume, spacing)
    monkeypatch.setattr(resample, "regain", lambda *_: 0)
    nearest = labels_to_spacing(volume, spacing)[0].x_CDHW[0]
    expected = plainly_regained(volume.x_CDHW[0], nearest, volume, placed)
    assert np.array_equal(placed.x_CDHW[0], expected) and regained > 20 and (expected == 3).any()


def test_a_mask_is_resampled_without_numbers_for_all_its_voxels() -> None:
    """ndimage.label alone takes four bytes a voxel."""
    volume = volume_of((np.random.default_rng(0).random((128, 256, 256)) > 0.999).astype(np.uint8))
    tracemalloc.start()
    _, regained = labels_to_spacing(volume, (2.0, 2.0, 2.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert regained > 5000 and peak < 1.5 * volume.x_CDHW.size


def test_a_region_of_which_a_voxel_is_taken_stays_as_the_nearest_rule_has_it() -> None:
    mask = (ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(30, 30, 30)), 2) > 0.05).astype(np.uint8)
    volume = volume_of(mask)
    new, regained = labels_to_spacing(volume, (1.5, 2.0, 1.5))
    image = sitk.GetImageFromArray(volume.x_CDHW[0])
    grid = sitk.Image([int(n) for n in new.x_CDHW.shape[:0:-1]], sitk.sitkUInt8)
    grid.SetSpacing(new.spacing[::-1])
    grid.SetOrigin(tuple(new.affine[:3, 3] - volume.affine[:3, 3]))
    nearest = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor))
    assert (nearest != new.x_CDHW[0]).sum() == regained


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "ASL"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.25, 0.5, 0.9)])
def test_resampling_and_orientation_against_itk(
    tmp_path: Path, orientation: str, spacing: tuple[float, float, float]
) -> None:
    """Where no axis becomes coarser, resampling is ITK's linear interpolation; turning is its DICOMOrient."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(14, 12, 10)), 1.5).astype(np.float32)
    turn = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(orientation))
    image = nib.Nifti1Image(smooth, np.diag([1.5, 1.5, 1.5, 1])).as_reoriented(turn)
    nib.save(image, tmp_path / "a.nii.gz")
    volume = read_nifti(tmp_path / "a.nii.gz")
    itk = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "a.nii.gz")), "LPS")  # x to the left, y to the back
    turned = sitk.GetArrayFromImage(itk)[:, ::-1, ::-1]
    assert np.array_equal(volume.x_CDHW[0], turned)
    new = to_spacing(volume, spacing)
    grid = sitk.Image([int(n) for n in new.x_CDHW.shape[:0:-1]], sitk.sitkFloat32)
    grid.SetSpacing([float(step) for step in new.spacing[::-1]])
    grid.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    grid.SetOrigin([float(c) for c in np.diag([-1, -1, 1]) @ new.affine[:3, 3]])
    centres = sitk.Resample(itk, grid, sitk.Transform(), sitk.sitkLinear, -9.0)
    expected = sitk.GetArrayFromImage(centres)
    inside = expected > -9  # beyond the outermost centres ITK has nothing, and we the edge
    assert inside.mean() > 0.5
    np.testing.assert_allclose(new.x_CDHW[0][inside], expected[inside], atol=2e-5)
