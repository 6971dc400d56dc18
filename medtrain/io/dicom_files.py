"""DICOM files among others: known by how they begin, whatever their names; nothing of them is decoded here."""

from __future__ import annotations

import os
import struct
from pathlib import Path

HEAD = 132  # bytes that `is_dicom` needs


def is_dicom(head: bytes) -> bool:
    """Tell whether a file's first `HEAD` bytes begin a DICOM file, with the preamble or (older ones) without."""
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8:
        return False
    group, element, length = struct.unpack("<HHI", head[:8])
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return group in (0x0002, 0x0008) and element < 0x0100 and (explicit or length < 4096)


def is_dicom_file(path: str | os.PathLike[str]) -> bool:
    """Apply `is_dicom` to a file; False where it cannot be opened."""
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            return False
        with open(path, "rb") as file:
            return is_dicom(file.read(HEAD))
    except OSError:
        return False


def dicom_files(folder: str | os.PathLike[str]) -> list[Path]:
    """List the DICOM files that lie in a folder itself, sorted by name; [] of what is no folder, such as a device."""
    try:
        files = list(Path(folder).iterdir())
    except OSError:
        return []
    return sorted(file for file in files if is_dicom_file(file) and file.name.upper() != "DICOMDIR")
