"""Reader of single-frame DICOM, as a radiograph's file has it: a picture like any other.

Stored values are decoded here; what they look like is decided in `medtrain.io.dicom_display`. Values of the header
never reach a message: they may name a patient.
"""

from __future__ import annotations

import logging
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from medtrain.io.dicom_display import DicomError, display_colour, display_grey, modality

HEAD = 132  # bytes that `is_dicom` needs
MOST_PIXELS = 178_956_970  # as PIL refuses of other pictures
PATIENT_ID = 0x00100020
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
# What the pixels need; a file that lacks one of them is damaged.
NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")

# pydicom's and GDCM's complaints quote the header.
logging.getLogger("pydicom").propagate = False
logging.getLogger("pydicom").addHandler(logging.NullHandler())
gdcm.Trace.DebugOff()
gdcm.Trace.WarningOff()
gdcm.Trace.ErrorOff()


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
    """List the DICOM files that lie in a folder itself, sorted by name."""
    return sorted(file for file in Path(folder).iterdir() if is_dicom_file(file) and file.name.upper() != "DICOMDIR")


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
    """`read_dicom`, and the decoded values as they are stored, colours as RGB."""
    with _stored(path) as (dataset, stored, photometric):
        if photometric == "PALETTE COLOR":
            coloured = apply_color_lut(stored, dataset)
            if int(dataset.BitsStored) <= 8 and coloured.dtype == np.uint16:
                coloured = (coloured >> 8).astype(np.uint8)  # 16-bit entries of a palette of at most 256 colours
            return display_colour(coloured, 8 * coloured.dtype.itemsize, window), coloured
        if photometric == "RGB":
            return display_colour(stored, int(dataset.BitsStored), window), stored
        return display_grey(stored, dataset, window), stored


def read_slice(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read a grey picture in the units of its rescale, Hounsfield's of a CT: (H, W) int16 or float32.

    Raises:
        DicomError: as `read_dicom`.
    """
    with _stored(path) as (dataset, stored, photometric):
        if stored.ndim != 2 or photometric == "PALETTE COLOR":
            raise DicomError("DICOM in colour")
        low = int(stored.min())
        if int(stored.max()) - low > 65535:
            raise DicomError("DICOM whose values span more than 16 bits")
        values = modality(np.arange(low, int(stored.max()) + 1, dtype=np.float64), dataset)
        whole = bool((values == np.rint(values)).all())
        kind = np.int16 if whole and np.abs(values).max() < 2**15 else np.float32
        return values.astype(kind)[stored.astype(np.int64) - low]


@contextmanager
def _stored(path: str | os.PathLike[str]) -> Iterator[tuple[Any, NDArray[Any], str]]:
    """Read a file's dataset, stored values and photometric interpretation; a fault of them is a DicomError."""
    _hush()
    try:
        dataset = pydicom.dcmread(path, force=True)
    except Exception as error:
        raise DicomError(f"damaged DICOM: its header cannot be read ({type(error).__name__})") from None
    try:
        yield dataset, *_decode(dataset, _refuse(dataset))
    except DicomError:
        raise
    except Exception as error:
        raise DicomError(f"damaged DICOM ({type(error).__name__})") from None


def _refuse(dataset: Any) -> UID:
    """Refuse datasets that are not of one picture, and return the transfer syntax of others."""
    meta = dataset.file_meta
    if meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise DicomError("a DICOMDIR, the index of a disc, not a picture")
    if "PixelData" not in dataset:
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            raise DicomError("DICOM with floating point pixels")
        if "Rows" in dataset:
            raise DicomError("truncated DICOM: the file ends before its pixels do")
        raise DicomError(f"DICOM without a picture: {_named(dataset.get('SOPClassUID'))}")
    if missing := [name for name in NEEDED if dataset.get(name) in (None, "")]:
        raise DicomError(f"damaged DICOM: no {', '.join(missing)}")
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise DicomError(f"multi-frame DICOM ({frames} frames); split it into single frames")
    if int(dataset.Rows) * int(dataset.Columns) > MOST_PIXELS:
        raise DicomError("more than 178 million pixels")
    if int(dataset.Rows) * int(dataset.Columns) == 0:
        raise DicomError("DICOM of 0 pixels")
    if "HighBit" in dataset and int(dataset.HighBit) != int(dataset.BitsStored) - 1:
        raise DicomError(f"DICOM with {dataset.BitsStored} bits stored below bit {dataset.HighBit}, which is obsolete")
    syntax = meta.get("TransferSyntaxUID")
    if not syntax:  # without the file's meta part: pydicom has found out how it is written
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        meta.TransferSyntaxUID = syntax
    return UID(syntax)


def _named(uid: Any) -> str:
    """Name a UID in public words; in a damaged file, anything may stand in its place."""
    name = UID(str(uid)).name
    return "something unknown" if name == str(uid) else name


def _decode(dataset: Any, syntax: UID) -> tuple[NDArray[Any], str]:
    """Decode stored values (H, W) or (H, W, 3) and their photometric interpretation; YBR becomes RGB."""
    samples, bits = int(dataset.get("SamplesPerPixel") or 1), int(dataset.BitsStored)
    photometric = str(dataset.PhotometricInterpretation)
    known = COLOURS if samples == 3 else ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR") if samples == 1 else ()
    if photometric not in known:
        raise DicomError(f"DICOM with {samples} samples a pixel that are neither grey, RGB, YBR nor a palette")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        raise DicomError(f"DICOM compressed as {_named(syntax)}, which cannot be read; decompress it")
    if syntax in NATIVE:
        if len(dataset.PixelData) < get_expected_length(dataset):
            raise DicomError(
                f"truncated DICOM: {len(dataset.PixelData)} bytes of pixels of {get_expected_length(dataset)}"
            )
    elif syntax != RLELossless and b"\xff\xd9" not in bytes(dataset.PixelData[-32:]):
        raise DicomError("truncated DICOM: the compressed picture has no end")
    if syntax == "1.2.840.10008.1.2.4.51" and bits != 8:
        raise DicomError(f"DICOM compressed as {_named(syntax)} with {bits} bits, which cannot be read; decompress it")
    # One decoder, not all in turn: where the stricter finds fault, another may fill the gap with grey.
    pillow = "pillow" in decoder.available_plugins and (samples == 1 or bits <= 8)
    plugin = "pillow" if pillow else decoder.available_plugins[0] if decoder.available_plugins else ""
    try:
        stored, facts = decoder.as_array(dataset, decoding_plugin=plugin, allow_excess_frames=False)  # type: ignore[arg-type]
    except Exception:
        raise DicomError("truncated or damaged DICOM: its pixels cannot be decoded") from None
    return stored, str(facts["photometric_interpretation"])


def _hush() -> None:
    # Each time, since a program sets its own filters when it likes; the list stays as long as it is.
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
