"""A map written as NIfTI onto the grid of the file that it explains, so that viewers lay one over the other."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from medtrain.io.files import atomic_path
from medtrain.io.nifti import is_nifti, millimetres
from medtrain.io.volume_source import read_volume


@dataclass(frozen=True)
class Grid:
    """The places of a file's voxels.

    Args:
        shape: voxels along its three axes.
        affine: (4, 4), from indices to mm (RAS+).
        header: of a NIfTI file.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    header: Any = None

    def voxel(self, mm: NDArray[np.float64]) -> tuple[int, ...]:
        """Find the voxel whose middle is next to a point."""
        index = np.linalg.solve(self.affine, [*mm, 1.0])[:3]
        return tuple(int(i) for i in np.clip(np.rint(index), 0, np.array(self.shape) - 1))


def grid_of_file(path: str | os.PathLike[str]) -> Grid:
    """Read the grid of a NIfTI file as it is stored, or of another volume with its voxels turned to RAS+."""
    if not is_nifti(path):
        volume = read_volume(path)
        return Grid(volume.x_CDHW.shape[:0:-1], volume.affine)
    image: Any = nib.load(Path(path))
    affine = np.array(image.affine, np.float64)
    affine[:3] *= millimetres(image.header)
    return Grid(tuple(image.shape[:3]), affine, image.header)


def onto_grid(map_DHW: NDArray[Any], affine: NDArray[np.float64], grid: Grid) -> NDArray[np.float32]:
    """Resample a map onto another grid, by linear interpolation.

    Args:
        map_DHW: its indices grow to head, front and right.
        affine: (4, 4), from (W, H, D) indices to mm.

    Returns:
        float32, along the file's own three axes.
    """
    between = np.linalg.inv(affine) @ grid.affine
    moved = affine_transform(
        map_DHW.T, between[:3, :3], between[:3, 3], output_shape=grid.shape, order=1, mode="nearest", output=np.float32
    )
    return np.asarray(moved)


def write_map(file: Path, values: NDArray[np.float32], grid: Grid) -> None:
    """Write values on a grid as .nii.gz, atomically."""
    header = None if grid.header is None else grid.header.copy()
    affine = grid.affine
    if header is not None:
        affine = affine.copy()
        affine[:3] /= millimetres(header)
    image = nib.Nifti1Image(values, affine, header, dtype=np.float32)
    image.header.set_slope_inter(1, 0)
    image.header["cal_max"], image.header["cal_min"] = 0, 0
    with atomic_path(file) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
