"""What must not pass in silence of DICOM pictures that are read all the same: told for all files together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.tag import BaseTag, Tag
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

from medtrain.io.dicom_display import FUNCTIONS
from medtrain.io.dicom_files import is_dicom_file
from medtrain.io.dicom_frames import FrameHeader
from medtrain.io.dicom_jpeg import decode_colours
from medtrain.io.dicom_pixels import has_narrow_palette
from medtrain.io.store.remembered import Remembered

WORDS = {
    "raw": "marked FOR PROCESSING: a detector's raw values, which radiologists don't read; look for FOR PRESENTATION",
    "oblong": "pixels that are not square, shown as if they were (PixelAspectRatio, PixelSpacing)",
    "palette": "a palette of 16 bits, of which its entries fill the lower 8 alone, shown as one of 8",
    "function": "a window of a function that is none of the standard's (VOILUTFunction), taken as linear",
    "overlay": "overlays (text, marks), which are not drawn",
    "colours": "a JPEG of other colours than its header names, read as what it holds",
}
OBLONG = 0.01  # of their height that pixels may be wider or narrower than high
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
WIDTH = 64  # characters that are remembered of a file
OVERLAYS = [Tag(group, 0x0010) for group in range(0x6000, 0x6020, 2)]  # their rows
TAGS: list[BaseTag] = [*OVERLAYS, *(Tag(name) for name in (
    "PresentationIntentType", "PixelAspectRatio", *SPACINGS, "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "SamplesPerPixel", "PhotometricInterpretation", "VOILUTFunction",
))]  # fmt: skip


def picture_notes(path: str | os.PathLike[str]) -> list[str]:
    """List what is to be told of a picture, in keys of `WORDS`; nothing of other files and of damaged ones."""
    if not is_dicom_file(path):
        return []
    try:
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS), force=True)
        header = FrameHeader(head)
        notes = ["raw"] * (str(header.get("PresentationIntentType") or "").upper() == "FOR PROCESSING")
        notes += ["oblong"] * _oblong(header)
        notes += ["function"] * (str(header.get("VOILUTFunction") or "LINEAR").upper() not in FUNCTIONS)
        notes += ["overlay"] * any(tag in head for tag in OVERLAYS)
        if header.get("PhotometricInterpretation") == "PALETTE COLOR":
            notes += ["palette"] * has_narrow_palette(pydicom.dcmread(path, stop_before_pixels=True, force=True))
        if header.get("SamplesPerPixel") == 3:
            notes += ["colours"] * _miscalled(path)
        return notes
    except Exception:  # whatever is wrong with the file is told where its pixels are read
        return []


def tell_notes(paths: Sequence[str], states: NDArray[np.int64], folder: Path, report: Callable[[str], None]) -> None:
    """Tell what there is to tell of these files, a line a kind; files that are as they were are not opened again.

    Args:
        paths: absolute.
        states: of the files, from `stat_files`.
        folder: the root of all caches.
    """
    memory = Remembered(folder / "picture_notes.npy", WIDTH)
    known = memory.recall(paths, states)
    new = [n for n, text in enumerate(known) if text is None and states[n, 0] >= 0]
    for n in new:
        known[n] = " ".join(picture_notes(paths[n]))
    if new:
        memory.add([paths[n] for n in new], states[new], [known[n] or "" for n in new])
    for line in note_lines(paths, [notes or "" for notes in known]):
        report(line)


def note_lines(paths: Sequence[str], notes: Sequence[str]) -> list[str]:
    """Say what there is to tell of pictures, a line a kind.

    Args:
        notes: of each, the keys of `WORDS` with blanks between them.
    """
    lines = []
    for word, text in WORDS.items():
        files = [path for path, own in zip(paths, notes, strict=True) if word in own.split()]
        if files:
            lines.append(f"{len(files):,} of {len(paths):,} pictures: {text}; the first is {Path(files[0]).name}")
    return lines


def _oblong(header: FrameHeader) -> bool:
    """Tell whether pixels are not square: by the ratio, else by the first spacing that the header has."""
    for name in ("PixelAspectRatio", *SPACINGS):
        pair: Any = header.get(name)
        if pair not in (None, "") and len(pair) == 2:
            down, across = (float(value) for value in pair)
            return bool(down > 0 and across > 0 and abs(across / down - 1) > OBLONG)
    return False


def _miscalled(path: str | os.PathLike[str]) -> bool:
    """Tell whether a JPEG of 8 bits says RGB and holds YCbCr, or the other way round."""
    dataset = pydicom.dcmread(path, force=True)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax not in (JPEGBaseline8Bit, JPEGExtended12Bit) or int(dataset.BitsStored) > 8:
        return False
    says_rgb = dataset.PhotometricInterpretation == "RGB"
    _, holds = decode_colours(next(generate_frames(dataset.PixelData, number_of_frames=1)), says_rgb)
    return holds != says_rgb
