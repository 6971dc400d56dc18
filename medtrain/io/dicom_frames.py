"""The header of one frame: what a file says of all its frames, of those of its functional groups, and of this one.

Enhanced objects (CT, MR, PET, XA, also of a single frame) keep rescale, window, spacing and place in functional groups,
either shared or frame by frame (PS3.3 C.7.6.16); all other files keep them at their top.
"""

from __future__ import annotations

from typing import Any

from pydicom.dataelem import DataElement

from medtrain.io.dicom_display import DicomError

# The groups whose attributes are looked at; one of them lies within another.
MACROS = (
    "PixelValueTransformationSequence", "FrameVOILUTSequence", "RealWorldValueMappingSequence", "PixelMeasuresSequence",
    "PlanePositionSequence", "PlaneOrientationSequence", "FrameContentSequence", "TemporalPositionSequence",
    "CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence", "XRay3DFrameTypeSequence",
    "CTReconstructionSequence", "MREchoSequence", "MRDiffusionSequence", "DiffusionGradientDirectionSequence",
    "CardiacSynchronizationSequence", "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)  # fmt: skip
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


class FrameHeader:
    """Attributes of one frame by name: its own group's, else the shared group's, else the file's.

    Args:
        dataset: of the file.
        number: of the frame, from 0.
    """

    def __init__(self, dataset: Any, number: int = 0) -> None:
        self._dataset = dataset
        self._own: dict[str, DataElement] = {}
        frames = dataset.get(PER_FRAME) or ()
        for item in [*(dataset.get(SHARED) or ())[:1], *frames[number : number + 1]]:
            _collect(item, self._own)

    def get(self, name: str, default: Any = None) -> Any:
        """Read an attribute's value, `default` where it is absent."""
        return self._own[name].value if name in self._own else self._dataset.get(name, default)

    def __getattr__(self, name: str) -> Any:
        return self._own[name].value if name in self._own else getattr(self._dataset, name)


def frame_count(dataset: Any) -> int:
    """Count the frames of a file; groups frame by frame must be as many.

    Raises:
        DicomError: they are not.
    """
    frames, groups = int(dataset.get("NumberOfFrames") or 1), dataset.get(PER_FRAME)
    if groups and len(groups) != frames:
        raise DicomError(f"damaged DICOM: {frames} frames, but functional groups of {len(groups)}")
    return frames


def _collect(item: Any, into: dict[str, DataElement]) -> None:
    for name in MACROS:
        for inner in (item.get(name) or ())[:1]:
            into.update({element.keyword: element for element in inner if element.VR != "SQ"})
            into.update({element.keyword: element for element in inner if element.keyword == "VOILUTSequence"})
            _collect(inner, into)
