"""What counts as one volume on the disk: a NIfTI file, or a folder with one DICOM series."""

from __future__ import annotations

import os
from collections.abc import Sequence

from medtrain.io.dicom import dicom_files
from medtrain.io.dicom_series import read_series
from medtrain.io.nifti import read_channels, read_nifti
from medtrain.io.store.files import digest, digest_file
from medtrain.io.volume import Volume, VolumeError


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a NIfTI file, or a folder with one DICOM series (VolumeError)."""
    return read_series(path) if os.path.isdir(path) else read_nifti(path)


def channels_of(paths: Sequence[str]) -> int:
    """Channels of the first of these files whose header can be read; 1 if there is none."""
    for path in paths:
        try:
            return 1 if os.path.isdir(path) else read_channels(path)
        except VolumeError:
            continue
    return 1


def state_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Size and time (ns) of a file, or of all files in a folder together; (-1, 0) where nothing is there."""
    try:
        if not os.path.isdir(path):
            status = os.stat(path)
            return status.st_size, status.st_mtime_ns
        with os.scandir(path) as entries:
            stats = [entry.stat() for entry in entries if entry.is_file()]
        return sum(file.st_size for file in stats), max((file.st_mtime_ns for file in stats), default=0) + len(stats)
    except OSError:
        return -1, 0


def content_of(path: str | os.PathLike[str]) -> bytes:
    """Hash what a file holds, or all DICOM files in a folder in whatever order."""
    if not os.path.isdir(path):
        return digest_file(path)
    return digest(b"".join(sorted(digest_file(file) for file in dicom_files(path))))
