"""Reader of NIfTI files (.nii, .nii.gz); what nibabel would pass over in silence is an error here."""

from __future__ import annotations

import logging
import os
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medtrain.io.volume import Volume, VolumeError, canonical, check_affine, check_shape

SUFFIXES = (".nii", ".nii.gz")
MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
DAMAGED = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, MemoryError)

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # its complaints name no file


def is_nifti(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith(SUFFIXES)


def read_nifti(path: str | os.PathLike[str]) -> Volume:
    """Read the volume in a file, a fourth dimension as channels; whole numbers stay whole, others become float32.

    Raises:
        VolumeError: with a short reason.
    """
    try:
        image = nib.load(Path(path))
        if not isinstance(image, nib.Nifti1Image):
            raise VolumeError("no NIfTI file")
        shape = _shape(image)
        check_shape(shape)
        _check_spacing(path, image)
        affine = _affine(image)
        check_affine(affine)
        values = _values(image).reshape(shape)
    except VolumeError:
        raise
    except DAMAGED as error:
        raise VolumeError(_reason(error)) from None
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise VolumeError(f"values of type {image.get_data_dtype()}, which are no grey levels")
    return canonical(values, affine, "NIfTI", str(image.get_data_dtype()))


def read_channels(path: str | os.PathLike[str]) -> int:
    """Count the values a voxel, by the header alone (VolumeError)."""
    try:
        shape = _shape(nib.load(Path(path)))
    except DAMAGED as error:
        raise VolumeError(_reason(error)) from None
    return shape[3] if len(shape) > 3 else 1


def _shape(image: Any) -> tuple[int, ...]:
    """Drop the axes of length 1 that stand behind the third: (W, H, D, 1, C) is a vector a voxel."""
    shape = tuple(int(n) for n in image.shape)
    return shape[:3] + tuple(n for n in shape[3:] if n != 1)


def _check_spacing(path: str | os.PathLike[str], image: Any) -> None:
    with ImageOpener(os.fspath(path)) as file:  # as written: on loading, nibabel makes 1 of a spacing of 0
        header = type(image.header).from_fileobj(file, check=False)
    spacing = np.asarray(header["pixdim"][1:4], np.float64)
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise VolumeError("a spacing that is zero or no number")


def _affine(image: Any) -> NDArray[np.float64]:
    unit = MM.get(image.header.get_xyzt_units()[0], 1.0)
    affine = np.array(image.affine, np.float64)
    affine[:3] *= unit
    return affine


def _values(image: Any) -> NDArray[Any]:
    raw = np.asanyarray(image.dataobj.get_unscaled())
    slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    if (slope, inter) == (1.0, 0.0):
        return raw
    if np.issubdtype(raw.dtype, np.integer) and raw.dtype.itemsize <= 2 and slope.is_integer() and inter.is_integer():
        return raw.astype(np.int32) * np.int32(slope) + np.int32(inter)
    return raw.astype(np.float32) * np.float32(slope) + np.float32(inter)


def _reason(error: BaseException) -> str:
    if isinstance(error, ImageFileError):
        return "no NIfTI file, or one with a damaged header"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "cannot be opened: permission denied"
    if isinstance(error, MemoryError):
        return "does not fit in memory"
    return "truncated or damaged: its voxels cannot be read"
