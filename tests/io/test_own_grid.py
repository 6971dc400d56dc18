"""Labels and maps back on the image's own grid, whatever its orientation, spacing and codes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from medtrain.io import own_grid
from medtrain.io.own_grid import most_likely, to_own, write_on_own
from medtrain.io.store.voxels import Stored, VolumeForm, cache_volumes
from tests.volumes import save


def stored(file: Path, spacing: tuple[float, float, float] | None = None) -> Stored:
    return cache_volumes([file], VolumeForm(spacing), file.parent / "cache")[0]


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PSL", "IRP"])
@pytest.mark.parametrize("working", [None, (1.0, 0.7, 2.0)])
def test_a_map_comes_back_in_shape_affine_and_place(
    tmp_path: Path, orientation: str, working: tuple[float, float, float] | None
) -> None:
    grid = np.indices((15, 18, 12), np.float32)
    smooth = (10 * grid[0] + 3 * grid[1] - 7 * grid[2]).astype(np.float32)
    file = save(tmp_path / "x.nii.gz", smooth, (0.9, 1.3, 2.0), orientation)
    own, seen = stored(file), stored(file, working)
    back = to_own(seen.values()[0], seen.spacing, own)
    write_on_own(back, own, file, tmp_path / "back.nii.gz")
    image, written = nib.load(file), nib.load(tmp_path / "back.nii.gz")
    assert written.shape == image.shape and np.array_equal(written.affine, image.affine)
    inner = (slice(3, -3),) * 3  # at the border, coarser voxels have averaged over it
    off = np.abs(np.asarray(written.dataobj) - np.asarray(image.dataobj))[inner]
    assert off.max() < (0.5 if working is None else 8), off.max()  # of differences of up to 10 a voxel


def test_finer_voxels_are_scipys_linear_interpolation(tmp_path: Path) -> None:
    file = save(tmp_path / "x.nii.gz", np.zeros((9, 11, 8), np.int16), (1.0, 1.0, 1.0))
    own = stored(file)
    x_DHW = np.random.default_rng(0).random((4, 6, 5)).astype(np.float32)
    spacing = tuple(n / m for n, m in zip(own.shape[1:], x_DHW.shape, strict=True))
    at = np.meshgrid(
        *[
            (np.arange(n) - (n - 1) / 2) / s + (m - 1) / 2
            for n, m, s in zip(own.shape[1:], x_DHW.shape, spacing, strict=True)
        ],
        indexing="ij",
    )
    expected = map_coordinates(x_DHW, at, order=1, mode="nearest")
    np.testing.assert_allclose(to_own(x_DHW, spacing, own), expected, atol=1e-5)  # type: ignore[arg-type]


def test_the_highest_channel_wins_after_interpolation(tmp_path: Path) -> None:
    own = stored(save(tmp_path / "x.nii", np.zeros((6, 6, 6), np.int16), (1.0, 1.0, 1.0)))
    x_CDHW = np.random.default_rng(1).random((3, 3, 3, 3)).astype(np.float32)
    channels = np.stack([to_own(channel, (2.0, 2.0, 2.0), own) for channel in x_CDHW])
    assert np.array_equal(most_likely(x_CDHW, (2.0, 2.0, 2.0), own), channels.argmax(0))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.4, 0.7, 3.0), (1.0, 2.0, 2.0)])
def test_planes_by_themselves_are_those_of_the_whole(
    spacing: tuple[float, float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = stored(save(tmp_path / "x.nii", np.zeros((7, 8, 11), np.int16), (1.0, 1.0, 1.0)))
    sides = [round(n / mm) for n, mm in zip(own.shape[1:], spacing, strict=True)]
    x_CDHW = np.random.default_rng(1).random((3, *sides)).astype(np.float32)
    whole = np.stack([to_own(channel, spacing, own) for channel in x_CDHW])
    for first in range(own.shape[1]):
        part = to_own(x_CDHW[0], spacing, own, slice(first, first + 2))
        np.testing.assert_allclose(part, whole[0, first : first + 2], rtol=1e-6)
    monkeypatch.setattr(own_grid, "SLAB", 100)
    assert len(list(own_grid.slabs(own))) > 3
    np.testing.assert_array_equal(most_likely(x_CDHW, spacing, own), whole.argmax(0))
    np.testing.assert_array_equal(np.stack(own_grid.sure(x_CDHW, spacing, own)), whole >= 0.5)


def test_codes_of_space_and_oblique_axes_are_kept_to_the_bit(tmp_path: Path) -> None:
    turn = nib.affines.from_matvec(
        nib.eulerangles.euler2mat(0.2, 0.1, -0.3) @ np.diag([1.1, 0.9, 2.5]), [3, -7, 11.123]
    )
    image = nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), turn)
    image.set_sform(turn, 4)
    image.set_qform(turn, 1)
    nib.save(image, tmp_path / "x.nii.gz")
    own = stored(tmp_path / "x.nii.gz")
    label_DHW = np.arange(7 * 6 * 5, dtype=np.uint8).reshape(own.shape[1:])
    write_on_own(label_DHW, own, tmp_path / "x.nii.gz", tmp_path / "y.nii.gz")
    again = nib.load(tmp_path / "y.nii.gz")
    assert np.array_equal(again.affine, nib.load(tmp_path / "x.nii.gz").affine)
    assert (int(again.header["sform_code"]), int(again.header["qform_code"])) == (4, 1)
    assert again.get_data_dtype() == np.uint8
    assert np.array_equal(stored(tmp_path / "y.nii.gz").values()[0], label_DHW)
