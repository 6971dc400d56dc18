"""What counts as one volume on the disk: a file of voxels, multi-frame DICOM, or a folder with one DICOM series."""

from __future__ import annotations

import os
from collections.abc import Sequence

from medtrain.io import itk, nifti
from medtrain.io.dicom_files import dicom_files, is_dicom_file
from medtrain.io.dicom_series import read_series
from medtrain.io.stats import stat_file
from medtrain.io.store.files import digest, digest_file
from medtrain.io.volume import Volume, VolumeError

FILES = (*nifti.SUFFIXES, *nifti.FREESURFER, *itk.SUFFIXES)
WHAT = f"volumes ({', '.join(FILES)}, multi-frame DICOM, or folders with a DICOM series)"


def is_volume_file(path: str | os.PathLike[str]) -> bool:
    """Tell by its name whether a file is a volume, be it one that can't be read."""
    return os.fspath(path).lower().endswith((*FILES, *itk.ELSEWHERE))


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a file, or a folder with one DICOM series.

    Raises:
        VolumeError: whatever its reader makes of it, in a few words.
    """
    try:
        if is_series(path):
            return read_series(path)
        if is_named_dicom(path):
            raise VolumeError("no DICOM file, whatever its name says: damaged, or something else")
        return itk.read_itk(path) if _by_itk(path) else nifti.read_nifti(path)
    except (VolumeError, MemoryError):
        raise
    except Exception as error:  # a file that its reader stumbles over costs its own row, not the command
        raise VolumeError(f"cannot be read ({type(error).__name__}): damaged, or not what its name says") from error


def is_named_dicom(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file calls itself DICOM, be it that or not."""
    return os.fspath(path).lower().endswith((".dcm", ".dicom"))


def is_series(path: str | os.PathLike[str]) -> bool:
    """Tell whether a volume is one of DICOM slices: a folder, or a file of them."""
    return os.path.isdir(path) or (not is_volume_file(path) and is_dicom_file(path))


def channels_of(paths: Sequence[str]) -> int:
    """Count the channels of the first of these files whose header can be read; 1 if there is none."""
    for path in paths:
        try:
            if is_series(path):
                return 1
            return itk.itk_channels(path) if _by_itk(path) else nifti.read_channels(path)
        except Exception:  # said of the row when the file is read
            continue
    return 1


def _by_itk(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith((*itk.SUFFIXES, *itk.ELSEWHERE, *itk.VOXELS))


def state_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read size and time (ns) of a file, or of all files in a folder; the size is negative where there is none."""
    try:
        if not os.path.isdir(path):
            return stat_file(path)
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
