"""Reader of volumes by SimpleITK (.mha, .nrrd), where that is installed."""

from __future__ import annotations

import os
import re
import zlib
from typing import Any

import numpy as np

from medtrain.core.extras import pip_command
from medtrain.io.volume import Volume, VolumeError, canonical

SUFFIXES = (".mha", ".nrrd")
ELSEWHERE = (".mhd", ".nhdr", ".hdr", ".mnc", ".nii.bz2", ".nii.xz", ".nii.zst")
"""Volumes that nothing here reads: headers whose voxels lie in another file, which might change unseen, and others."""
VOXELS = (".img",)
"""Voxels whose header, which gets the row of a folder, lies in another file."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
DETACHED = re.compile(rb"^(data ?file|ElementDataFile) *[:=] *+(?!LOCAL)", re.MULTILINE | re.IGNORECASE)
END = re.compile(rb"^ElementDataFile *= *LOCAL *\r?\n|\n\r?\n", re.MULTILINE)  # of the header
DEFLATED, GZIP = re.compile(rb"^CompressedData *= *True", re.MULTILINE), re.compile(rb"^encoding: *gz", re.MULTILINE)
PLAIN = re.compile(rb"^CompressedData *= *False|^encoding: *raw", re.MULTILINE)
HEADER, CHUNK = 1 << 16, 1 << 20
BAD = "truncated or damaged"


def read_itk(path: str | os.PathLike[str]) -> Volume:
    """Read the volume in a file, several values a voxel as channels.

    Raises:
        VolumeError: with a short reason.
    """
    sitk = _sitk(path)
    try:
        image = sitk.ReadImage(os.fspath(path))
    except RuntimeError:
        raise VolumeError(f"{BAD}: ITK cannot read it") from None
    if image.GetDimension() != 3:
        raise VolumeError(f"{image.GetDimension()} dimensions: not a volume")
    values = sitk.GetArrayFromImage(image)  # z, y, x and channels
    _check_body(path, values.nbytes)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return canonical(np.swapaxes(values, 0, 2), LPS_TO_RAS @ affine, "ITK", str(values.dtype))


def itk_channels(path: str | os.PathLike[str]) -> int:
    """Count the values a voxel, by the header alone (VolumeError)."""
    reader = _sitk(path).ImageFileReader()
    reader.SetFileName(os.fspath(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise VolumeError(f"{BAD}: ITK cannot read it") from None
    return int(reader.GetNumberOfComponents())


def _check_body(path: str | os.PathLike[str], size: int) -> None:
    """Refuse a file whose voxels are cut short, or don't fit their checksum, which ITK passes over."""
    with open(path, "rb") as file:
        head = file.read(HEADER)
        end = END.search(head)
        if end is None:
            return
        head, unpacked = head[: end.end()], zlib.decompressobj(wbits=31 if GZIP.search(head[: end.end()]) else 15)
        file.seek(end.end())
        if PLAIN.search(head):
            there = os.fstat(file.fileno()).st_size - end.end()
        elif DEFLATED.search(head) or GZIP.search(head):
            try:
                there = sum(len(unpacked.decompress(part)) for part in iter(lambda: file.read(CHUNK), b""))
            except zlib.error:
                raise VolumeError(f"{BAD}: its content doesn't fit its checksum; get it again") from None
            there = there if unpacked.eof else 0
        else:
            return  # text, or packed by a format with checksums that ITK sees to
    if there < size:
        raise VolumeError(f"{BAD}: its voxels are cut short")


def _sitk(path: str | os.PathLike[str]) -> Any:
    if os.fspath(path).lower().endswith((*ELSEWHERE, *VOXELS)):
        raise VolumeError("a format that is not read: save it as .nii.gz or .mha, its voxels in the same file")
    try:
        with open(path, "rb") as file:
            head = file.read(HEADER).partition(b"\n\n")[0]
    except OSError as error:
        raise VolumeError(f"cannot be opened: {error.strerror}") from None
    if DETACHED.search(head):
        raise VolumeError("a header whose voxels lie in another file: save it as .nii.gz or .mha, in one file")
    try:
        import SimpleITK
    except ImportError:
        raise VolumeError(f"read by SimpleITK, which isn't installed: {pip_command('SimpleITK')}, or .nii.gz") from None
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # its complaints name no row
    return SimpleITK
