"""Pixels of a DICOM file decoded as they are stored, frame by frame: grey, a palette's indices, or RGB."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import features
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from medtrain.io.dicom_display import DicomError
from medtrain.io.dicom_frames import frame_count
from medtrain.io.dicom_jpeg import check_j2k, check_jpeg, decode_colours, is_mixed

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
HIGH_THROUGHPUT = (HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
OPENJPEG = (2, 5)  # the first that reads High-Throughput JPEG 2000


def named(uid: Any) -> str:
    """Name a UID in public words; in a damaged file, anything may stand in its place."""
    name = UID(str(uid)).name
    return "something unknown" if name == str(uid) else name


def frames(dataset: Any, syntax: UID) -> tuple[Iterator[NDArray[Any]], str]:
    """Decode a file's frames one after the other.

    Returns:
        stored values (H, W) or (H, W, 3) of each; and their photometric interpretation, of which YBR has become RGB.

    Raises:
        DicomError: also while they are gone through.
    """
    samples, bits = int(dataset.get("SamplesPerPixel") or 1), int(dataset.BitsStored)
    photometric = str(dataset.PhotometricInterpretation)
    known = COLOURS if samples == 3 else ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR") if samples == 1 else ()
    if photometric not in known:
        raise DicomError(f"DICOM with {samples} samples a pixel that are neither grey, RGB, YBR nor a palette")
    syntax = _readable(dataset, syntax)
    _check_length(dataset, syntax)
    count, coloured = frame_count(dataset), samples == 3 and bits <= 8
    if coloured and syntax in (JPEGBaseline8Bit, JPEGExtended12Bit):
        return _all(_jpeg_colours(dataset, count, photometric == "RGB"), count), "RGB"
    if samples == 3 and syntax in (JPEG2000, JPEG2000Lossless) and photometric.startswith("YBR_FULL"):
        first = next(generate_frames(dataset.PixelData, number_of_frames=count))
        dataset.PhotometricInterpretation = "YBR_RCT" if is_mixed(first) else photometric
    decoder = get_decoder(syntax)
    # One decoder, not all in turn: where the stricter finds fault, another may fill the gap with grey.
    pillow = "pillow" in decoder.available_plugins and (samples == 1 or bits <= 8)
    plugin = "pillow" if pillow else decoder.available_plugins[0] if decoder.available_plugins else ""
    # By number: without, pydicom corrects the sign of a frame in a buffer that can't be written.
    decoded = decoder.iter_array(dataset, indices=range(count), decoding_plugin=plugin, allow_excess_frames=False)
    if plugin == "gdcm" or syntax in (JPEG2000, JPEG2000Lossless):
        decoded = _checked(dataset, count, decoded)
    return _all((frame for frame, _ in decoded), count), "RGB" if samples == 3 else photometric


def has_narrow_palette(dataset: Any) -> bool:
    """Tell whether a palette says that its entries have 16 bits, and fills 8 of them: it would be all black."""
    try:
        first, depth = dataset.RedPaletteColorLookupTableDescriptor[1:]
        entries = np.array([[first, *range(1 << int(dataset.BitsStored))]])
        return depth > 8 and bool(apply_color_lut(entries, dataset).max() < 256)
    except Exception:  # no palette; what is wrong with one is told where its colours are looked up
        return False


def _readable(dataset: Any, syntax: UID) -> UID:
    """Refuse a transfer syntax that nothing here reads; returns the one to read it by."""
    if syntax in HIGH_THROUGHPUT:  # OpenJPEG reads it as any JPEG 2000, but pydicom doesn't ask it to
        version = features.version_codec("jpg_2000") or "0"
        if tuple(int(part) for part in version.split(".")[:2]) < OPENJPEG:
            raise DicomError(f"DICOM compressed as {named(syntax)}, which needs a newer Pillow: pip install -U pillow")
        dataset.file_meta.TransferSyntaxUID = syntax = JPEG2000
    if syntax == JPEGExtended12Bit and int(dataset.BitsStored) != 8:
        bits = int(dataset.BitsStored)
        raise DicomError(f"DICOM compressed as {named(syntax)} with {bits} bits, which cannot be read; decompress it")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        raise DicomError(f"DICOM compressed as {named(syntax)}, which cannot be read; decompress it")
    return syntax


def _check_length(dataset: Any, syntax: UID) -> None:
    if syntax in NATIVE:
        if len(dataset.PixelData) < get_expected_length(dataset):
            raise DicomError(
                f"truncated DICOM: {len(dataset.PixelData)} bytes of pixels of {get_expected_length(dataset)}"
            )
    elif syntax != RLELossless and b"\xff\xd9" not in bytes(dataset.PixelData[-32:]):
        raise DicomError("truncated DICOM: the compressed picture has no end")


def _jpeg_colours(dataset: Any, count: int, says_rgb: bool) -> Iterator[NDArray[np.uint8]]:
    shape = int(dataset.Rows), int(dataset.Columns), 3
    for stream in generate_frames(dataset.PixelData, number_of_frames=count):
        pixels, _ = decode_colours(stream, says_rgb)
        if pixels.shape != shape:
            raise ValueError("another size than the header has")
        yield pixels


def _checked(dataset: Any, count: int, decoded: Iterator[Any]) -> Iterator[Any]:
    """Look at all streams before the first is decoded."""
    shape = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
    for stream in generate_frames(dataset.PixelData, number_of_frames=count):
        is_j2k = dataset.file_meta.TransferSyntaxUID in (JPEG2000, JPEG2000Lossless)
        (check_j2k if is_j2k else check_jpeg)(stream, shape, int(dataset.BitsAllocated))
    yield from decoded


def _all(decoded: Iterator[NDArray[Any]], count: int) -> Iterator[NDArray[Any]]:
    """Give `count` frames; a fault of the decoder, or too few of them, is a DicomError."""
    done = 0
    try:
        for frame in islice(decoded, count):
            done += 1
            yield frame
    except Exception:
        raise DicomError("truncated or damaged DICOM: its pixels cannot be decoded") from None
    if done < count:
        raise DicomError(f"truncated DICOM: {done} frames of {count}")
