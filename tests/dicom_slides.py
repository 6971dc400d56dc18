"""DICOM slides for tests, in several files, as scanners and archives write them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from medtrain.io.dicom_slide import SLIDE

Place = tuple[int, int]  # row and column of a tile


def dicom_slide(
    folder: Path, pixels: NDArray[np.uint8], *, sparse: bool = False, parts: int = 1, without: Sequence[Place] = ()
) -> list[Path]:
    """Write three levels, the first in `parts` files, and a thumbnail, a label and an overview; returns their files.

    Args:
        pixels: (H, W, 3) at 0.5 um/px.
        sparse: say the place of each tile, else all tiles in order.
        without: tiles of level 0 that are left out of a sparse slide.
    """
    folder.mkdir(parents=True, exist_ok=True)
    common = Dataset()
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(common, name, generate_uid())
    common.Modality, common.PatientID, common.ContainerIdentifier = "SM", "P1", "S1"
    files, whole = [], generate_uid()
    for level in range(3):
        picture = np.asarray(Image.fromarray(pixels).reduce(2**level))
        tiles = [(row, column) for row in _tiles(picture, 0) for column in _tiles(picture, 1)]
        tiles = [tile for tile in tiles if level or tile not in without]
        count = 1 if level else parts
        size = -(-len(tiles) // count)
        for part in range(count):
            instance = _instance(common, picture, tiles[part * size : (part + 1) * size], "VOLUME", level, sparse)
            if count > 1:
                instance.ConcatenationUID = instance.SOPInstanceUIDOfConcatenationSource = whole
                instance.InConcatenationNumber, instance.InConcatenationTotalNumber = part + 1, count
                instance.ConcatenationFrameOffsetNumber = part * size
            files.append(folder / f"level{level}_{part}.dcm")
            pydicom.dcmwrite(files[-1], instance, enforce_file_format=True)
    small = np.asarray(Image.fromarray(pixels).resize((64, 64)))
    for number, kind in enumerate(("THUMBNAIL", "LABEL", "OVERVIEW")):
        files.append(folder / f"a_{kind.lower()}.dcm")
        pydicom.dcmwrite(
            files[-1], _instance(common, small, [(0, 0)], kind, 9 + number, False), enforce_file_format=True
        )
    return files


TILE = 128


def _tiles(picture: NDArray[np.uint8], axis: int) -> range:
    return range(-(-picture.shape[axis] // TILE))


def _instance(
    common: Dataset, picture: NDArray[np.uint8], tiles: list[Place], kind: str, level: int, sparse: bool
) -> Dataset:
    """Make one file's data set: JPEG tiles of a level."""
    spacing = 0.0005 * 2**level
    out = Dataset()
    out.update(common)
    out.file_meta = FileMetaDataset()
    out.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    out.SOPClassUID = out.file_meta.MediaStorageSOPClassUID = SLIDE
    out.SOPInstanceUID = out.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    out.ImageType = ["DERIVED" if level else "ORIGINAL", "PRIMARY", kind, "RESAMPLED" if level else "NONE"]
    out.InstanceNumber = level + 1
    out.Rows = out.Columns = TILE
    out.TotalPixelMatrixRows, out.TotalPixelMatrixColumns = picture.shape[:2]
    out.NumberOfFrames, out.SamplesPerPixel, out.PlanarConfiguration = len(tiles), 3, 0
    out.PhotometricInterpretation = "YBR_FULL_422"
    out.BitsAllocated = out.BitsStored = 8
    out.HighBit, out.PixelRepresentation, out.TotalPixelMatrixFocalPlanes, out.NumberOfOpticalPaths = 7, 0, 1, 1
    measures, group = Dataset(), Dataset()
    measures.PixelSpacing = [spacing, spacing]
    group.PixelMeasuresSequence = [measures]
    out.SharedFunctionalGroupsSequence = [group]
    path = Dataset()
    path.OpticalPathIdentifier, path.ObjectiveLensPower = "1", 20
    out.OpticalPathSequence = [path]
    out.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    if sparse:
        out.PerFrameFunctionalGroupsSequence = [_position(row, column) for row, column in tiles]
    padded = np.full((*(-(-side // TILE) * TILE for side in picture.shape[:2]), 3), 255, np.uint8)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    out.PixelData = encapsulate([_jpeg(padded[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE]) for r, c in tiles])
    out["PixelData"].is_undefined_length = True
    return out


def _position(row: int, column: int) -> Dataset:
    position, frame = Dataset(), Dataset()
    position.RowPositionInTotalImagePixelMatrix = row * TILE + 1
    position.ColumnPositionInTotalImagePixelMatrix = column * TILE + 1
    frame.PlanePositionSlideSequence = [position]
    return frame


def _jpeg(tile: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(tile).save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()
