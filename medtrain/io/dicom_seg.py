"""Masks on a DICOM series as a DICOM segmentation, which PACS and viewers lay over the very slices it was made of.

By highdicom (Bridge et al., Journal of Digital Imaging 2022). Codes that say what a segment is of are the most general
ones, as a class has a name here and no code.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from medtrain import __version__
from medtrain.core.extras import extra
from medtrain.io.dicom_files import dicom_files
from medtrain.io.dicom_slices import read_slice_headers
from medtrain.io.dicom_stack import Stack, in_order
from medtrain.io.files import atomic_path
from medtrain.io.own_grid import as_in_file
from medtrain.io.store.voxels import Stored
from medtrain.io.volume import VolumeError

PURPOSE = "format=dicom_seg"
ANATOMY = ("123037004", "SCT", "Anatomical Structure")  # of CID 7150: the category that any structure belongs to


def write_dicom_seg(
    masks: Sequence[NDArray[np.bool_]], names: Sequence[str], own: Stored, image: str | os.PathLike[str], file: Path
) -> None:
    """Write a segment a class.

    Args:
        masks: (D, H, W) of each class, on the image's own voxels; they may overlap.
        own: the image in its file's own voxels.
        image: the folder of its series, or its multi-frame file.

    Raises:
        VolumeError: its slices are no place for a segmentation, with the reason.
        UsageError: highdicom is not installed.
    """
    hd = extra("highdicom", PURPOSE)
    stack = in_order(read_slice_headers(dicom_files(image) if os.path.isdir(image) else [Path(image)])[0])
    if stack.tilt:
        raise VolumeError("its gantry was tilted: its voxels, as read, lie on none of its slices")
    sources, place = _sources(stack)
    pixels_FRCS = np.zeros((max(place) + 1, *own_slices(masks[0], own).shape[1:], len(masks)), np.uint8)
    for segment, mask in enumerate(masks):
        pixels_FRCS[place, :, :, segment] = own_slices(mask, own)
    try:
        made = _segmentation(hd, sources, pixels_FRCS, names)
    except (AttributeError, ValueError, TypeError) as error:
        raise VolumeError(f"its headers are no base of a segmentation: {str(error).splitlines()[0][:200]}") from error
    with atomic_path(file) as temporary:
        made.save_as(temporary)


def own_slices(mask_DHW: NDArray[np.bool_], own: Stored) -> NDArray[np.bool_]:
    """Turn a mask to slices, rows and columns, as the series has them."""
    return np.ascontiguousarray(as_in_file(mask_DHW, own)[0].transpose(2, 1, 0))


def _sources(stack: Stack) -> tuple[list[pydicom.Dataset], list[int]]:
    """Read the headers of slices, and which frame of these each of them is."""
    if stack.slices[0].frames == 1:
        headers: list[pydicom.Dataset] = [pydicom.dcmread(one.file, stop_before_pixels=True) for one in stack.slices]
        return headers, list(range(len(headers)))
    first = stack.slices[0]
    if len(stack.slices) != first.frames:
        raise VolumeError(f"its file has {first.frames} frames, of which {len(stack.slices)} are the volume")
    return [pydicom.dcmread(first.file, stop_before_pixels=True)], [one.frame for one in stack.slices]


def _segmentation(
    hd: Any, sources: list[pydicom.Dataset], pixels_FRCS: NDArray[np.uint8], names: Sequence[str]
) -> pydicom.Dataset:
    anatomy = hd.sr.CodedConcept(*ANATOMY)
    family = hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    program = hd.AlgorithmIdentificationSequence("medtrain", family, __version__)
    automatic = hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
    segments = [
        hd.seg.SegmentDescription(number, name[:64], anatomy, anatomy, automatic, algorithm_identification=program)
        for number, name in enumerate(names, start=1)
    ]
    made: pydicom.Dataset = hd.seg.Segmentation(
        sources,
        pixels_FRCS,
        hd.seg.SegmentationTypeValues.BINARY,
        segments,
        series_instance_uid=hd.UID(),
        series_number=900,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="medtrain",
        manufacturer_model_name="medtrain",
        software_versions=__version__,
        device_serial_number="0",
        omit_empty_frames=bool(pixels_FRCS.any()),
    )
    return made
