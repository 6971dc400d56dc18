"""The form to which pictures are brought, and the files that count as pictures; nothing is decoded here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from medtrain.io.dicom_files import is_dicom_file

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp"),
    *(".webp", ".gif", ".jp2", ".j2k", ".pgm", ".ppm", ".dcm", ".dicom"),
)
FITS = ("pad", "shrink", "stretch", "crop")
PADDED = ("pad", "shrink")


@dataclass(frozen=True)
class ImageForm:
    """The size, channels and values to which every picture of a data set is brought.

    Args:
        size: (H, W) in pixels.
        channels: 1 (grey) or 3 (RGB).
        fit: ``pad`` (keep the aspect ratio, fill with black), ``shrink`` (the same, but smaller pictures keep their
            scale), ``stretch``, or ``crop`` (keep the aspect ratio, cut the excess).
        window: stored values (lo, hi) that become black and white; None takes 8-bit pictures as they are and
            deeper ones from their own minimum to their own maximum. Of DICOM they are rescaled values, and None means
            what the file says (see `medtrain.io.dicom_display`).
    """

    size: tuple[int, int]
    channels: int = 1
    fit: str = "pad"
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if min(self.size) < 1 or len(self.size) != 2:
            raise ValueError(f"image size {self.size} is not two positive numbers of pixels")
        if self.channels not in (1, 3):
            raise ValueError(f"{self.channels} channels: pictures have 1 (grey) or 3 (RGB)")
        if self.fit not in FITS:
            raise ValueError(f"fit {self.fit!r} is none of {', '.join(FITS)}")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(f"window {list(self.window)} is not [low, high] with low < high")


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file of a folder counts as a picture: by its suffix; others where they begin as DICOM does."""
    path = Path(path)
    if path.name.startswith(".") or path.is_dir():
        return False
    return path.suffix.lower() in SUFFIXES or (path.name.upper() != "DICOMDIR" and is_dicom_file(path))
