"""Slices of a DICOM series as their headers have them: which objects beside each other are slices, and of one kind.

No value of a header that could name a person reaches a message; series are told apart by number, modality and size.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import UID

from medtrain.io.dicom_display import DicomError, has_rescale
from medtrain.io.dicom_frames import PER_FRAME, SHARED, FrameHeader, frame_count
from medtrain.io.volume import Notes, VolumeError

PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
NEEDED = ("Rows", "Columns", "SeriesInstanceUID")
# By what slices of one series may differ, in the order in which it is said: plural, and attributes that tell.
MARKS = {
    "stacks": ("StackID",),
    "time points": ("TemporalPositionIdentifier", "TemporalPositionIndex", "NominalCardiacTriggerDelayTime"),
    "echoes": ("EffectiveEchoTime", "EchoTime", "EchoNumbers"),
    "b-values": ("DiffusionBValue",),
    "diffusion directions": ("DiffusionGradientOrientation",),
    "kinds of image": ("FrameType", "ImageType", "ComplexImageComponent"),
    "kernels": ("ConvolutionKernel",),
    "acquisitions": ("FrameAcquisitionNumber", "AcquisitionNumber"),
    "frames of reference": ("FrameOfReferenceUID",),
}
TAGS = (
    *NEEDED, *PLACE, "SOPClassUID", "SOPInstanceUID", "SeriesNumber", "Modality", "NumberOfFrames", "BitsStored",
    "Units", "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", SHARED, PER_FRAME,
    *(name for names in MARKS.values() for name in names),
)  # fmt: skip
OTHER = ("SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "RTRECORD", "RTIMAGE", "REG", "SR", "PR", "KO", "DOC")  # modalities
PARALLEL = 0.001  # of direction cosines
UNIT = 0.01  # that direction cosines may be off a length of 1, or off a right angle, as rounded ones are


@dataclass(frozen=True)
class Slice:
    """A slice as its header has it.

    Args:
        frame: its number in the file, from 0; `frames` that the file has.
        position, direction: mm and direction cosines (LPS); `spacing` of its pixels down and across.
        digits: of each coordinate of the position, behind the point, as it is written.
        rescale: how values become the modality's, in words that can be compared; `scale` with its numbers.
        marks: what the slice is of, by `MARKS`.
    """

    file: Path
    frame: int
    frames: int
    series: str
    number: str
    modality: str
    instance: str
    size: tuple[int, int]
    bits: int
    position: NDArray[np.float64]
    direction: NDArray[np.float64]
    spacing: NDArray[np.float64]
    digits: NDArray[np.int64]
    rescale: str
    scale: tuple[str, ...]
    marks: dict[str, str]

    @property
    def name(self) -> str:
        """Name the slice in a message."""
        return self.file.name if self.frames == 1 else f"{self.file.name} frame {self.frame + 1}"


def read_slice_headers(files: Sequence[Path]) -> tuple[list[Slice], Notes]:
    """Read the headers of all slices in some files; other objects beside them are passed over.

    Returns:
        the slices of one series, in no order; and what a reader should be told.

    Raises:
        VolumeError: there are slices of several series, or none, or they do not fit each other.
    """
    heads = [(file, _head(file)) for file in files]
    words = [_other(head) or _aside(head) for _, head in heads]
    if all(words):  # localizers or screenshots alone are a series like any other
        words = [_other(head) for _, head in heads]
    passed = ", ".join(f"{count} {word}" for word, count in sorted(Counter(filter(None, words)).items()))
    slices = [slice_ for (file, head), word in zip(heads, words, strict=True) if not word for slice_ in _of(file, head)]
    if not slices:
        raise VolumeError(f"no slices, but {passed}")
    slices, copies = _without_copies(slices)
    _check_one_series(slices)
    _check_alike(slices)
    notes = {"passed_over": f"leaves out what lies beside its slices: {passed}"} if passed else {}
    if copies:
        what = "slice that is" if copies == 1 else "slices that are"
        notes["copies"] = f"leaves out {copies} {what} there twice, byte for byte"
    return slices, notes | _units(slices)


def _head(file: Path) -> Any:
    try:
        head = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(TAGS), force=True)
        _other(head), _aside(head)  # elements are decoded when they are looked at
        return head
    except Exception:
        raise VolumeError(f"{file.name}: damaged DICOM, whose header cannot be read") from None


def _other(head: Any) -> str:
    """Name an object that is never a slice (structures, segmentations, doses, reports ...), '' for any other."""
    modality, kind = str(head.get("Modality") or ""), str(head.get("SOPClassUID") or "")
    name = UID(kind).name if kind else ""
    public = "" if name == kind else name
    if modality in OTHER or (public and "Image Storage" not in public and "Volume Storage" not in public):
        return public or modality
    return ""


def _aside(head: Any) -> str:
    """Name a picture that lies beside slices without being one of them: a localizer, a screenshot."""
    if "LOCALIZER" in [str(word).upper() for word in head.get("ImageType") or ()]:
        return "localizer"
    name = UID(str(head.get("SOPClassUID") or "")).name
    return name if "Secondary Capture" in name else ""


def _of(file: Path, head: Any) -> list[Slice]:
    """Make the slices that a file has, one a frame."""
    if missing := [name for name in NEEDED if head.get(name) in (None, "")]:
        raise VolumeError(f"{file.name}: damaged DICOM, or no slice of a series: no {', '.join(missing)}")
    try:
        frames = frame_count(head)
        common = (
            str(head.SeriesInstanceUID),
            str(int(head.get("SeriesNumber") or 0)),
            str(head.get("Modality") or "?")[:2],
            str(head.get("SOPInstanceUID") or ""),
            (int(head.Rows), int(head.Columns)),
            int(head.get("BitsStored") or 16),
        )
    except DicomError as error:
        raise VolumeError(f"{file.name}: {error}") from None
    except Exception:
        raise VolumeError(f"{file.name}: damaged DICOM, or no slice of a series") from None
    slices = []
    for number in range(frames):
        header = FrameHeader(head, number)
        marks = {what: _mark(header, names) for what, names in MARKS.items()}
        slices.append(Slice(file, number, frames, *common, *_place(file, header), *_rescale(header), marks))
    return slices


def _place(
    file: Path, header: FrameHeader
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Read position, direction and spacing, and how many digits the position is written with."""
    absent = [name for name in PLACE if header.get(name) in (None, "")]
    try:
        position, direction, spacing = (np.asarray(header.get(name), np.float64) for name in PLACE)
        if [len(v) for v in (position, direction, spacing)] != [3, 6, 2] or (spacing <= 0).any():
            raise ValueError
        if not np.isfinite(np.concatenate([position, direction, spacing])).all():
            raise ValueError
        across, down = direction[:3], direction[3:]
        if max(abs(across @ across - 1), abs(down @ down - 1), abs(across @ down)) > 2 * UNIT:
            raise ValueError
    except Exception:
        film = ": frames of time, not slices of a volume?" * (header.get("NumberOfFrames") is not None)
        raise VolumeError(f"{file.name}: its header does not place it ({', '.join(absent or PLACE)}){film}") from None
    across = across / np.linalg.norm(across)
    down = down - (down @ across) * across
    digits = [len(str(value).lower().partition(".")[2].partition("e")[0]) for value in header.get(PLACE[0])]
    return position, np.concatenate([across, down / np.linalg.norm(down)]), spacing, np.array(digits)


def _mark(header: FrameHeader, names: Sequence[str]) -> str:
    """Write what a header says by the first of these names that it has; for comparison, never to be shown."""
    values = (header.get(name) for name in names)
    return next((str(value) for value in values if value not in (None, "")), "")


def _rescale(header: FrameHeader) -> tuple[str, tuple[str, ...]]:
    """Say how values become the modality's, and by which numbers; these are never shown."""
    if not has_rescale(header):
        return "real world values" if header.get("RealWorldValueSlope") is not None else "", ()
    unit = str(header.get("RescaleType") or header.get("Units") or "")
    numbers = tuple(str(header.get(name, "")) for name in ("RescaleSlope", "RescaleIntercept"))
    return f"rescaled {unit}" if unit.isalnum() else "rescaled", numbers


def _without_copies(slices: list[Slice]) -> tuple[list[Slice], int]:
    """Leave out files that are a copy of another, byte for byte; returns how many slices that were."""
    of_instance: dict[str, list[Path]] = defaultdict(list)
    for slice_ in slices:
        if slice_.instance and slice_.frame == 0:
            of_instance[slice_.instance].append(slice_.file)
    copies: set[Path] = set()
    for files in of_instance.values():
        seen: set[bytes] = set()
        for file in files if len(files) > 1 else ():
            digest = blake2b(file.read_bytes()).digest()
            if digest in seen:
                copies.add(file)
            seen.add(digest)
    rest = [slice_ for slice_ in slices if slice_.file not in copies]
    return rest, len(slices) - len(rest)


def _check_one_series(slices: Sequence[Slice]) -> None:
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


def _check_alike(slices: Sequence[Slice]) -> None:
    """Refuse slices that differ in what makes them one volume."""
    first = slices[0]
    usual = [any(numbers) for numbers in zip(*(slice_.scale for slice_ in slices if slice_.scale), strict=True)]
    bare = [slice_ for slice_ in slices if _lacks(slice_, usual)]
    if 0 < len(bare) < len(slices):
        raise VolumeError(
            f"{len(bare)} of {len(slices)} slices lack the rescale (RescaleSlope, RescaleIntercept) that others have, "
            f"so their values are of another scale: {bare[0].name}"
        )
    for what, apart in (
        ("size", lambda a, b: a.size != b.size),
        ("spacing", lambda a, b: not np.allclose(a.spacing, b.spacing, rtol=1e-3)),
        ("stack (StackID)", lambda a, b: a.marks["stacks"] != b.marks["stacks"]),
        ("direction", lambda a, b: not np.allclose(a.direction, b.direction, atol=PARALLEL)),
        ("units", lambda a, b: a.rescale != b.rescale),
    ):
        other = [slice_ for slice_ in slices if apart(slice_, first)]
        if other:
            raise VolumeError(f"slices that differ in their {what}: {other[0].name} and {first.name}")


def _lacks(slice_: Slice, usual: Sequence[bool]) -> bool:
    """Tell whether a slice has no rescale, or lacks a number of it that any of them has."""
    missing = any(there and not number for there, number in zip(usual, slice_.scale, strict=False))
    return not slice_.rescale or missing


def _units(slices: Sequence[Slice]) -> Notes:
    first, scales = slices[0], {slice_.scale for slice_ in slices}
    if first.modality == "CT" and not first.rescale:
        what = "has no rescale (RescaleSlope, RescaleIntercept): its values are as stored, not Hounsfield units"
        return {"no_rescale": what}
    if first.modality == "CT" and len(scales) > 1:
        return {"rescales": f"has {len(scales)} different rescales, each applied to its slices: unusual for a CT"}
    if first.rescale == "real world values":
        return {"real_world": "has no rescale, but a mapping to real world values, which is applied"}
    return {}


def _named(series: list[Slice]) -> str:
    first = series[0]
    return f"number {first.number} ({first.modality}, {len(series)} of {first.size[0]} x {first.size[1]})"
