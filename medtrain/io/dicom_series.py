"""Reader of a DICOM series: the slices in a folder, or the frames of one file, as a volume."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.io.content import of_voxels
from medtrain.io.dicom import read_slices
from medtrain.io.dicom_display import DicomError
from medtrain.io.dicom_files import dicom_files
from medtrain.io.dicom_slices import Slice, read_slice_headers
from medtrain.io.dicom_stack import in_order, stacked, upright
from medtrain.io.volume import Notes, Volume, VolumeError, canonical

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_series(path: str | os.PathLike[str]) -> Volume:
    """Read the series in a folder, or in a multi-frame file, in rescaled units (Hounsfield's of a CT).

    Raises:
        VolumeError: there are several series or none, slices are missing, or one of them cannot be read.
    """
    try:
        files = dicom_files(path) if os.path.isdir(path) else [Path(path)]
    except OSError as error:
        raise VolumeError(f"cannot be opened: {error.strerror}") from None
    if not files:
        raise VolumeError("a folder without DICOM files")
    slices, notes = read_slice_headers(files)
    stack = in_order(slices)
    x_DHW, affine = stacked(stack, _pixels(stack.slices))
    bits = f"{stack.slices[0].bits} bits"
    notes |= stack.notes
    if not stack.tilt:
        return _volume(x_DHW, affine, bits, notes)
    identity = of_voxels(_volume(x_DHW, affine, bits, notes).x_CDHW)  # as converters write it, sheared
    return replace(_volume(*upright(stack, x_DHW), bits, notes), identity=identity)


def _volume(x_DHW: NDArray[np.generic], affine: NDArray[np.float64], bits: str, notes: Notes) -> Volume:
    return canonical(x_DHW.transpose(2, 1, 0), LPS_TO_RAS @ affine, "DICOM", bits, notes)


def _pixels(slices: list[Slice]) -> Iterator[NDArray[np.generic]]:
    """Read the pixels of slices, opening each file once where its frames follow each other, up or down."""
    start = 0
    while start < len(slices):
        stop = start + 1
        while stop < len(slices) and slices[stop].file == slices[start].file:
            stop += 1
        try:
            yield from _frames(slices[start].file, [slice_.frame for slice_ in slices[start:stop]])
        except DicomError as error:
            raise VolumeError(f"{slices[start].file.name}: {error}") from None
        start = stop


def _frames(file: Path, wanted: list[int]) -> Iterator[NDArray[np.generic]]:
    if wanted == [0]:
        yield next(read_slices(file))
        return
    among = set(wanted)
    frames = ((n, pixels) for n, pixels in enumerate(read_slices(file)) if n in among)
    if wanted == sorted(wanted):
        yield from (pixels for _, pixels in frames)
    else:
        by_number = dict(frames)
        yield from (by_number[n] for n in wanted)
