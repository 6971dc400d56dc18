"""DICOM files to test with, written by pydicom and compressed by GDCM: what they hold is known to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

SYNTAXES = {
    "jpeg_lossless": ("1.2.840.10008.1.2.4.57", gdcm.TransferSyntax.JPEGLosslessProcess14),
    "jpeg_lossless_sv1": ("1.2.840.10008.1.2.4.70", gdcm.TransferSyntax.JPEGLosslessProcess14_1),
    "jpeg_ls": ("1.2.840.10008.1.2.4.80", gdcm.TransferSyntax.JPEGLSLossless),
    "jpeg_2000": ("1.2.840.10008.1.2.4.90", gdcm.TransferSyntax.JPEG2000Lossless),
    "rle": ("1.2.840.10008.1.2.5", gdcm.TransferSyntax.RLELossless),
}


def dataset(pixels: np.ndarray, bits: int | None = None, **elements: Any) -> FileDataset:
    """One frame: (H, W) grey or (H, W, 3) colour, 8 or 16 bits allocated; `elements` are set, None removes one."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientID, ds.PatientName = "CR", "", ""
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    ds.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated = 8 * pixels.dtype.itemsize
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    raw = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    for name, value in elements.items():
        if value is None:
            ds.pop(name, None)
        else:
            setattr(ds, name, value)
    return ds


def lut(table: np.ndarray, first: int, bits: int) -> list[Dataset]:
    """A sequence with one lookup table, for ModalityLUTSequence and VOILUTSequence."""
    item = Dataset()
    item.LUTDescriptor = [len(table) % 65536, first, bits]
    item.LUTData = table.astype("<u2").tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US" if first >= 0 else "SS", "OW"
    item.ModalityLUTType = "US"
    return [item]


def write(path: Path, pixels: np.ndarray, bits: int | None = None, syntax: str = "", **elements: Any) -> Path:
    """A file of `dataset`, compressed as one of `SYNTAXES` if one is named."""
    dataset(pixels, bits, **elements).save_as(path, enforce_file_format=True)
    if syntax:
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(SYNTAXES[syntax][1]))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == UID(SYNTAXES[syntax][0])
    return path


def group(**macros: dict[str, Any]) -> Dataset:
    """A functional group: of each macro (PixelMeasures, PlanePosition, ...) its attributes."""
    item = Dataset()
    for name, elements in macros.items():
        inner = Dataset()
        for keyword, value in elements.items():
            setattr(inner, keyword, value)
        setattr(item, f"{name}Sequence", [inner])
    return item


def place(position: Any, direction: Any = (1, 0, 0, 0, 1, 0), spacing: Any = (0.8, 0.6)) -> dict[str, dict[str, Any]]:
    """Macros that place a frame."""
    return {
        "PlanePosition": {"ImagePositionPatient": list(position)},
        "PlaneOrientation": {"ImageOrientationPatient": list(direction)},
        "PixelMeasures": {"PixelSpacing": list(spacing)},
    }


def write_frames(
    path: Path, frames: np.ndarray, shared: dict[str, Any], per_frame: list[dict[str, Any]], **elements: Any
) -> Path:
    """An enhanced object of `frames` (N, H, W): macros that all of them share, and of each frame."""
    own: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1", "Modality": "CT", "SeriesInstanceUID": "1.2.3", "SeriesNumber": 4,
        "NumberOfFrames": len(frames), "PixelData": frames.astype(frames.dtype.newbyteorder("<")).tobytes(),
    }  # fmt: skip
    ds = dataset(frames[0], 16, **own | elements)
    ds.SharedFunctionalGroupsSequence = [group(**shared)]
    ds.PerFrameFunctionalGroupsSequence = [group(**macros) for macros in per_frame]
    ds.save_as(path, enforce_file_format=True)
    return path
