"""Reader of NIfTI and FreeSurfer files (.nii, .nii.gz, .mgz, .mgh); what nibabel would pass over in silence is told."""

from __future__ import annotations

import gzip
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medtrain.io.volume import Notes, Volume, VolumeError, canonical, check_affine, check_shape, farthest

SUFFIXES = (".nii", ".nii.gz")
FREESURFER = (".mgh", ".mgz")
PACKED = (".gz", ".mgz")
MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
APART = 0.5  # voxels by which two affines of a file may differ anywhere in it
CHUNK = 1 << 20
DAMAGED = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError)

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # its complaints name no file


def is_nifti(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith(SUFFIXES)


def read_nifti(path: str | os.PathLike[str]) -> Volume:
    """Read the volume in a file, a fourth dimension as channels; whole numbers stay whole, others become float32.

    A packed file is read to its end, where the checksum of its content stands.

    Raises:
        VolumeError: with a short reason.
    """
    try:
        with _opened(path) as (image, file):
            shape = _shape(image)
            check_shape(shape)
            affine = _affine(image)
            check_affine(affine)
            values = _values(image).reshape(shape)
            if os.fspath(path).lower().endswith(PACKED):
                _to_the_end(file)
            notes = _notes(image) | _no_scale(image, file)
    except VolumeError:
        raise
    except DAMAGED as error:
        raise VolumeError(_reason(error)) from None
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise VolumeError(f"values of type {image.get_data_dtype()}, which are no grey levels")
    name = "NIfTI" if isinstance(image, nib.Nifti1Image) else "FreeSurfer"
    return canonical(values, affine, name, str(image.get_data_dtype()), notes)


def read_channels(path: str | os.PathLike[str]) -> int:
    """Count the values a voxel, by the header alone (VolumeError)."""
    try:
        with _opened(path) as (image, _):
            shape = _shape(image)
    except DAMAGED as error:
        raise VolumeError(_reason(error)) from None
    return shape[3] if len(shape) > 3 else 1


def _to_the_end(file: Any) -> None:
    """Read what is left of a packed file: its checksum stands at the end."""
    while file.read(CHUNK):
        pass


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Any]]:
    """Open a file as an image whose header is read, and as the stream that the voxels of a packed one come from."""
    name = os.fspath(path).lower()
    packed = name.endswith(PACKED)
    with gzip.open(path, "rb") if packed else open(path, "rb") as file:
        kind = nib.MGHImage if name.endswith(FREESURFER) else _nifti_class(file)
        # what is not packed is mapped, which needs its name
        holder = FileHolder(fileobj=file) if packed else FileHolder(filename=os.fspath(path))
        yield kind.from_file_map({"image": holder}), file


def _nifti_class(file: Any) -> type[Any]:
    """Find the version of NIfTI that a file is of, and look at its header as written.

    On loading, nibabel makes 1 of a spacing of 0.
    """
    head = file.read(nib.Nifti2Header.sizeof_hdr)
    file.seek(0)
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        if kind.header_class.may_contain_header(head):
            header = kind.header_class.from_fileobj(file, check=False)
            file.seek(0)
            spacing = np.asarray(header["pixdim"][1:4], np.float64)
            if not np.isfinite(spacing).all() or (spacing <= 0).any():
                raise VolumeError("a spacing that is zero or no number")
            return kind
    raise ImageFileError


def _shape(image: Any) -> tuple[int, ...]:
    """Drop the axes of length 1 that stand behind the third: (W, H, D, 1, C) is a vector a voxel."""
    shape = tuple(int(n) for n in image.shape)
    return shape[:3] + tuple(n for n in shape[3:] if n != 1)


def _affine(image: Any) -> NDArray[np.float64]:
    affine = np.array(image.affine, np.float64)
    affine[:3] *= millimetres(image.header)
    return affine


def millimetres(header: Any) -> float:
    """Give the length of a header's unit; FreeSurfer's is a millimetre."""
    return MM.get(header.get_xyzt_units()[0], 1.0) if isinstance(header, nib.Nifti1Header) else 1.0


def _values(image: Any) -> NDArray[Any]:
    raw = np.asanyarray(image.dataobj.get_unscaled())
    slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    if (slope, inter) == (1.0, 0.0):
        return raw
    fits = abs(slope) * 2**16 + abs(inter) < 2**31
    if fits and raw.dtype.kind in "iu" and raw.dtype.itemsize <= 2 and slope.is_integer() and inter.is_integer():
        return raw.astype(np.int32) * np.int32(slope) + np.int32(inter)
    values = np.empty(raw.shape, np.float32, order="F")
    with np.errstate(over="ignore"):  # infinity is refused later
        for n in range(raw.shape[-1]):  # in double precision, as whoever saves the scaled values anew computes them
            values[..., n] = raw[..., n] * np.float64(slope) + inter
    return values


def _notes(image: Any) -> Notes:
    """Say where the header leaves in doubt where the volume lies."""
    header, lies = image.header, "".join(map(str, nib.aff2axcodes(image.affine)))
    if not isinstance(header, nib.Nifti1Header):
        placed = bool(header["goodRASFlag"])
        return {} if placed else {"no_place": f"its header doesn't say where it lies: its axes are taken as {lies}"}
    codes = int(header["qform_code"]), int(header["sform_code"])
    if not any(codes):
        return {"no_place": f"has neither qform nor sform: its axes are taken as {lies}"}
    if not all(codes):
        return {}
    try:
        other = header.get_qform()
    except (HeaderDataError, ValueError):
        return {"two_places": "has a qform that is no rotation; its sform is taken"}
    apart = farthest(image.affine, other, image.shape)
    if apart <= APART * nib.affines.voxel_sizes(image.affine).min():
        return {}
    turned = "".join(map(str, nib.aff2axcodes(other)))
    axes = f", whose axes are {lies}, not {turned}" * (turned != lies)
    return {"two_places": f"qform and sform disagree by {apart * millimetres(header):.3g} mm; sform is taken{axes}"}


def _no_scale(image: Any, file: Any) -> Notes:
    """Tell of a slope that is no number, which nibabel takes for none."""
    if not isinstance(image, nib.Nifti1Image):
        return {}
    file.seek(0)
    slope = float(image.header_class.from_fileobj(file, check=False)["scl_slope"])
    if np.isfinite(slope):
        return {}
    return {"no_scale": f"has a scl_slope of {slope}, which is no number: its values are taken as they are stored"}


def _reason(error: BaseException) -> str:
    if isinstance(error, ImageFileError | HeaderDataError):
        return "no NIfTI file, or one with a damaged header"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "cannot be opened: permission denied"
    if isinstance(error, gzip.BadGzipFile) and "CRC" in str(error):
        return "damaged: its content doesn't fit its checksum (gzip -t says so too); get it again"
    return "truncated or damaged: its voxels cannot be read"
