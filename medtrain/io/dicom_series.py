"""Reader of a folder with one DICOM series: a volume of slices in their order along the body, none missing.

No value of a header that could name a person reaches a message; series are told apart by number, modality and size.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from medtrain.io.dicom import dicom_files, read_slice
from medtrain.io.dicom_display import DicomError
from medtrain.io.volume import Volume, VolumeError, canonical

TAGS = (
    "SeriesInstanceUID", "SeriesNumber", "Modality", "Rows", "Columns", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "NumberOfFrames", "BitsStored",
)  # fmt: skip
PARALLEL = 0.001  # of direction cosines
UNEVEN = 0.1  # of the usual distance between slices
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Slice:
    """A slice as its header has it: position in mm and direction cosines (LPS), spacing of its pixels."""

    file: Path
    series: str
    number: str
    modality: str
    size: tuple[int, int]
    bits: int
    position: NDArray[np.float64]
    direction: NDArray[np.float64]
    spacing: NDArray[np.float64]


def read_series(folder: str | os.PathLike[str]) -> Volume:
    """Read the series in a folder, in rescaled units (Hounsfield's of a CT).

    Raises:
        VolumeError: there are several series or none, slices are missing, or one of them cannot be read.
    """
    try:
        files = dicom_files(folder)
    except OSError as error:
        raise VolumeError(f"cannot be opened: {error.strerror}") from None
    if not files:
        raise VolumeError("a folder without DICOM files")
    slices = _in_order(_one_series([_header(file) for file in files]))
    first = slices[0]
    try:
        values = np.stack([read_slice(slice_.file) for slice_ in slices])
    except DicomError as error:
        raise VolumeError(f"a slice of the series cannot be read: {error}") from None
    affine = np.eye(4)
    affine[:3, 0] = first.direction[:3] * first.spacing[1]
    affine[:3, 1] = first.direction[3:] * first.spacing[0]
    affine[:3, 2] = (slices[-1].position - first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    return canonical(values.transpose(2, 1, 0), LPS_TO_RAS @ affine, "DICOM", f"{first.bits} bits")


def _header(file: Path) -> Slice:
    try:
        head = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(TAGS), force=True)
        frames = int(head.get("NumberOfFrames") or 1)
        size = int(head.Rows), int(head.Columns)
        series, number = str(head.SeriesInstanceUID), str(int(head.get("SeriesNumber") or 0))
        modality, bits = str(head.get("Modality") or "?")[:2], int(head.get("BitsStored") or 16)
    except Exception:
        raise VolumeError(f"{file.name}: damaged DICOM, or no slice of a series") from None
    if frames > 1:
        raise VolumeError(f"{file.name}: {frames} frames in one file; convert it to NIfTI (dcm2niix does) first")
    try:
        place = [np.asarray(head[name].value, np.float64) for name in TAGS[5:8]]
        if [len(vector) for vector in place] != [3, 6, 2] or not np.isfinite(np.concatenate(place)).all():
            raise ValueError
    except Exception:
        raise VolumeError(
            f"{file.name}: its header does not place it (ImagePositionPatient, ImageOrientationPatient, PixelSpacing)"
        ) from None
    return Slice(file, series, number, modality, size, bits, *place)


def _one_series(slices: list[Slice]) -> list[Slice]:
    of_series: dict[str, list[Slice]] = defaultdict(list)
    for slice_ in slices:
        of_series[slice_.series].append(slice_)
    if len(of_series) > 1:
        named = [_named(series) for series in sorted(of_series.values(), key=len, reverse=True)]
        more = f", and {len(named) - 5} more" * (len(named) > 5)
        raise VolumeError(
            f"{len(named)} series in one folder: {'; '.join(named[:5])}{more}; give each a folder of its own"
        )
    if len(slices) == 1:
        raise VolumeError("one slice only: a picture, not a volume")
    for what, apart in (
        ("size", lambda a, b: a.size != b.size),
        ("spacing", lambda a, b: not np.allclose(a.spacing, b.spacing, rtol=1e-3)),
        ("direction", lambda a, b: not np.allclose(a.direction, b.direction, atol=PARALLEL)),
    ):
        other = [slice_ for slice_ in slices if apart(slice_, slices[0])]
        if other:
            raise VolumeError(f"slices that differ in their {what}: {other[0].file.name} and {slices[0].file.name}")
    return slices


def _named(series: list[Slice]) -> str:
    first = series[0]
    return f"number {first.number} ({first.modality}, {len(series)} of {first.size[0]} x {first.size[1]})"


def _in_order(slices: list[Slice]) -> list[Slice]:
    """Sort slices along their normal, and refuse them unless one stands at each place and all are there."""
    normal = np.cross(slices[0].direction[:3], slices[0].direction[3:])
    place = np.array([slice_.position @ normal for slice_ in slices])
    order = np.argsort(place, kind="stable")
    slices, step = [slices[n] for n in order], np.diff(place[order])
    if (step < 1e-3).any():
        index = int(np.argmin(step))
        names = f"{slices[index].file.name} and {slices[index + 1].file.name}"
        raise VolumeError(f"two slices at one place: {names}; several series or time points?")
    usual = float(np.median(step))
    wrong = np.flatnonzero(np.abs(step - usual) > UNEVEN * usual)
    if len(wrong):
        index = int(wrong[0])
        names = f"between {slices[index].file.name} and {slices[index + 1].file.name}"
        gap = f"{step[index]:.4g} mm {names}, elsewhere {usual:.4g}"
        missing = int(sum(max(0, round(step[n] / usual) - 1) for n in wrong))
        raise VolumeError((f"{missing} slices are missing: " if missing else "slices at uneven distances: ") + gap)
    return slices
