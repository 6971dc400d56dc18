"""Reader of DICOM: a single frame as a picture like any other, and the frames of a file as slices of a volume.

Stored values are decoded in `medtrain.io.dicom_pixels`; what they look like is decided in `medtrain.io.dicom_display`.
Values of the header never reach a message: they may name a patient.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gdcm
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from medtrain.io.dicom_display import DicomError, display_colour, display_grey, modality
from medtrain.io.dicom_frames import FrameHeader, frame_count
from medtrain.io.dicom_pixels import frames, has_narrow_palette, named

MOST_PIXELS = 178_956_970  # as PIL refuses of other pictures
PATIENT_ID = 0x00100020
# What the pixels need; a file that lacks one of them is damaged.
NEEDED = (
    "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "PhotometricInterpretation",
)  # fmt: skip

# pydicom's and GDCM's complaints quote the header.
logging.getLogger("pydicom").propagate = False
logging.getLogger("pydicom").addHandler(logging.NullHandler())
gdcm.Trace.DebugOff()
gdcm.Trace.WarningOff()
gdcm.Trace.ErrorOff()


def read_patient_id(path: str | os.PathLike[str]) -> str | None:
    """Read the header's PatientID as it is: an identifier, to be hashed (`medtrain.io.pseudonym`); None without."""
    _hush()
    try:
        with open(path, "rb") as file:
            # The header is read no further than the patient: thousands of files are looked at.
            dataset = pydicom.filereader.read_partial(
                file, lambda tag, vr, length: tag > PATIENT_ID, specific_tags=[PATIENT_ID], force=True
            )
        return str(dataset.get("PatientID") or "").strip() or None
    except Exception:  # whatever is wrong with the file is told where its pixels are read
        return None


def read_shape(path: str | os.PathLike[str]) -> tuple[int, int, int, int]:
    """Read (rows, columns, samples a pixel, bits stored) of a header; raises whatever a damaged one makes of it."""
    _hush()
    tags = ["Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsStored"]
    head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags), force=True)
    samples = 3 if head.get("PhotometricInterpretation") == "PALETTE COLOR" else int(head.get("SamplesPerPixel") or 1)
    return int(head.Rows), int(head.Columns), samples, int(head.BitsStored)


def is_multi_frame(path: str | os.PathLike[str]) -> bool:
    """Tell whether a DICOM file has several frames; False where its header cannot be read."""
    _hush()
    try:
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"], force=True)
        return int(head.get("NumberOfFrames") or 1) > 1
    except Exception:  # whatever is wrong with the file is told where its pixels are read
        return False


def read_dicom(path: str | os.PathLike[str], window: tuple[float, float] | None = None) -> NDArray[Any]:
    """Read the picture in a file as a viewer shows it, black 0 and white the most that the type holds.

    Args:
        window: (low, high) in rescaled units, in place of the file's own.

    Returns:
        (H, W) or (H, W, 3), uint8 where the file stores 8 bits or fewer and nothing widens them, else uint16.

    Raises:
        DicomError: with a short reason that quotes nothing of the header that could name a person.
    """
    return read_dicom_stored(path, window)[0]


def read_dicom_stored(
    path: str | os.PathLike[str], window: tuple[float, float] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read what `read_dicom` does, and the decoded values as they are stored, colours as RGB."""
    with _opened(path) as dataset:
        if (count := _frames_of(dataset)) > 1:
            raise DicomError(f"multi-frame DICOM ({count} frames); split it into single frames, or read it as a volume")
        decoded, photometric = frames(dataset, _syntax(dataset))
        (stored,), header = decoded, FrameHeader(dataset)
        if photometric == "PALETTE COLOR":
            coloured = _coloured(stored, dataset)
            return display_colour(coloured, 8 * coloured.dtype.itemsize, window), coloured
        if photometric == "RGB":
            return display_colour(stored, int(dataset.BitsStored), window), stored
        return display_grey(stored, header, window), stored


def read_slices(path: str | os.PathLike[str]) -> Iterator[NDArray[Any]]:
    """Read the grey frames of a file in the units of their rescale, Hounsfield's of a CT: (H, W) int16 or float32.

    Raises:
        DicomError: as `read_dicom`.
    """
    with _opened(path) as dataset:
        _frames_of(dataset)
        decoded, photometric = frames(dataset, _syntax(dataset))
        if photometric not in ("MONOCHROME1", "MONOCHROME2"):
            raise DicomError("DICOM in colour")
        for number, stored in enumerate(decoded):
            yield _rescaled(stored, FrameHeader(dataset, number))


def _coloured(stored_HW: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Look up the colours of a palette; of at most 256 of them, or of entries that fill 8 bits alone, as uint8."""
    coloured = apply_color_lut(stored_HW, dataset)
    if coloured.dtype != np.uint16:
        return coloured
    if has_narrow_palette(dataset):
        return coloured.astype(np.uint8)
    return (coloured >> 8).astype(np.uint8) if int(dataset.BitsStored) <= 8 else coloured


def _rescaled(stored_HW: NDArray[Any], header: FrameHeader) -> NDArray[Any]:
    low, high = int(stored_HW.min()), int(stored_HW.max())
    if high - low > 65535:
        raise DicomError("DICOM whose values span more than 16 bits")
    values = modality(np.arange(low, high + 1, dtype=np.float64), header, real_world=True)
    whole = bool((values == np.rint(values)).all())
    kind = np.int16 if whole and np.abs(values).max() < 2**15 else np.float32
    return values.astype(kind)[stored_HW.astype(np.int64) - low]


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Read a file's dataset; a fault of it, or of what is done with it, is a DicomError."""
    _hush()
    try:
        dataset = pydicom.dcmread(path, force=True)
    except Exception as error:
        raise DicomError(f"damaged DICOM: its header cannot be read ({type(error).__name__})") from None
    try:
        yield dataset
    except DicomError:
        raise
    except Exception as error:
        raise DicomError(f"damaged DICOM ({type(error).__name__})") from None


def _frames_of(dataset: Any) -> int:
    """Refuse datasets without pictures, and count the frames of others."""
    if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise DicomError("a DICOMDIR, the index of a disc, not a picture")
    if "PixelData" not in dataset:
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            raise DicomError("DICOM with floating point pixels")
        if "Rows" in dataset:
            raise DicomError("truncated DICOM: the file ends before its pixels do")
        raise DicomError(f"DICOM without a picture: {named(dataset.get('SOPClassUID'))}")
    needed = (*NEEDED, "PlanarConfiguration") if dataset.get("SamplesPerPixel") == 3 else NEEDED
    if missing := [name for name in needed if dataset.get(name) in (None, "")]:
        raise DicomError(f"damaged DICOM: no {', '.join(missing)}")
    if int(dataset.Rows) * int(dataset.Columns) > MOST_PIXELS:
        raise DicomError("more than 178 million pixels")
    if int(dataset.Rows) * int(dataset.Columns) == 0:
        raise DicomError("DICOM of 0 pixels")
    if "HighBit" in dataset and int(dataset.HighBit) != int(dataset.BitsStored) - 1:
        raise DicomError(f"DICOM with {dataset.BitsStored} bits stored below bit {dataset.HighBit}, which is obsolete")
    return frame_count(dataset)


def _syntax(dataset: Any) -> UID:
    """Give the transfer syntax of a file."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:  # without the file's meta part: pydicom has found out how it is written
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return UID(syntax)


def _hush() -> None:
    # Each time, since a program sets its own filters when it likes; the list stays as long as it is.
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
