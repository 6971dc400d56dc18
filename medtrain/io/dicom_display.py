"""From stored values to what a viewer shows: DICOM's grey-scale pipeline (PS3.3 C.7.6.3, C.11.1, C.11.2).

Everything depends on the stored value alone, so it is computed once a value, not once a pixel: a table of at most
65,536 entries, through which the picture then goes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float64]  # 0 black, 1 white
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")  # VOI LUT functions; any other is taken as the first


class DicomError(ValueError):
    """The reason why a file is not read, in our words: pydicom's may quote the header, and with it a patient."""


def display_grey(stored_HW: NDArray[Any], dataset: Any, window: tuple[float, float] | None) -> NDArray[Any]:
    """Turn stored values into (H, W) uint8 (8 bits stored, nothing widens them) or uint16, over their full range.

    Modality LUT or rescale; then `window`, else the first window of the file, else its VOI LUT, else the range of the
    values; then MONOCHROME1 is inverted. Padding is left out of the range, and black.

    Raises:
        DicomError: values of more than 16 bits, or a rescale or LUT that means nothing.
    """
    padding = _padding(stored_HW, dataset)
    used = stored_HW if padding is None else stored_HW[~padding]
    if not used.size:
        return np.zeros(stored_HW.shape, np.uint8)
    low, high = int(used.min()), int(used.max())
    if high - low > 65535:
        raise DicomError("DICOM whose values span more than 16 bits")
    values = modality(np.arange(low, high + 1, dtype=np.float64), dataset)
    rescaled = values[0] != low or values[-1] != high or bool(dataset.get("ModalityLUTSequence"))
    eight = int(dataset.BitsStored) <= 8 and not rescaled
    if window is not None:
        grey = linear(values, *window)
    elif (own := _window(values, dataset)) is not None:
        grey = own
    elif luts := dataset.get("VOILUTSequence"):
        grey, eight = _lut(values, luts[0], scaled=True), False
    elif eight and low >= 0 and int(dataset.BitsStored) == 8:
        grey = values / 255  # as 8-bit pictures of other formats are taken
    else:
        grey = linear(values, float(values.min()), float(values.max()))
    if dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        grey = 1 - grey
    table = np.rint(grey * 255).astype(np.uint8) if eight else np.rint(grey * 65535).astype(np.uint16)
    shown: NDArray[Any] = table[np.clip(stored_HW.astype(np.int64) - low, 0, high - low)]
    if padding is not None:
        shown[padding] = 0
    return shown


def display_colour(stored_HWC: NDArray[Any], bits: int, window: tuple[float, float] | None) -> NDArray[Any]:
    """Scale RGB of `bits` bits to the full range of uint8 or uint16; a `window` is in stored values.

    Raises:
        DicomError: more than 16 bits.
    """
    if stored_HWC.dtype not in (np.uint8, np.uint16):
        raise DicomError("DICOM in colour with more than 16 bits or a sign")
    white = np.iinfo(stored_HWC.dtype).max
    if window is None and bits == 8 * stored_HWC.dtype.itemsize:
        return stored_HWC
    low, high = window or (0, 2**bits - 1)
    return np.rint(linear(stored_HWC.astype(np.float64), low, high) * white).astype(stored_HWC.dtype)


def linear(values: Grey, low: float, high: float) -> Grey:
    """Map `low` and below to 0, `high` and above to 1; all to 0 where there is nothing between them."""
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)


def _padding(stored: NDArray[Any], dataset: Any) -> NDArray[np.bool_] | None:
    """Find where PixelPaddingValue, or the range up to its limit, stands (PS3.3 C.7.5.1.1.2)."""
    ends = [dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return None
    # Many files write a negative value as an unsigned number, or the other way round.
    whole = 1 << int(dataset.BitsAllocated)
    signed = bool(dataset.PixelRepresentation)
    values = [int(end) % whole for end in ends if end is not None]
    values = [value - whole if signed and value >= whole // 2 else value for value in values]
    padding: NDArray[np.bool_] = (stored >= min(values)) & (stored <= max(values))
    return padding if padding.any() else None


def modality(stored: Grey, dataset: Any, real_world: bool = False) -> Grey:
    """Convert stored values to the modality's units: by its LUT, else by rescale slope and intercept (DicomError).

    Args:
        real_world: where a file has neither, take its mapping to real world values (PS3.3 C.7.6.16.2.11).
    """
    if luts := dataset.get("ModalityLUTSequence"):
        return _lut(stored, luts[0])
    of_units = real_world and not has_rescale(dataset) and dataset.get("RealWorldValueSlope") is not None
    names = ("RealWorldValueSlope", "RealWorldValueIntercept") if of_units else ("RescaleSlope", "RescaleIntercept")
    slope, intercept = (_number(dataset, name, default) for name, default in zip(names, (1.0, 0.0), strict=True))
    if slope is None or intercept is None or slope == 0:
        raise DicomError("DICOM whose rescale slope or intercept is no number other than 0")
    with np.errstate(over="ignore", invalid="ignore"):
        values = stored * slope + intercept
    if not np.isfinite(values).all():
        raise DicomError("DICOM whose rescale slope and intercept lead to infinite values")
    return values


def has_rescale(dataset: Any) -> bool:
    """Tell whether a header says how stored values become the modality's: by slope, intercept or LUT."""
    factors = [dataset.get(name) for name in ("RescaleSlope", "RescaleIntercept")]
    return bool(dataset.get("ModalityLUTSequence")) or any(value not in (None, "") for value in factors)


def _number(dataset: Any, name: str, default: float | None = None) -> float | None:
    """Read the first value of an element, `default` if absent or blank, None if it is no finite number."""
    try:
        value = dataset.get(name)
        first = value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value
        if first is None or first == "":
            return default
        return float(first) if math.isfinite(float(first)) else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _window(values: Grey, dataset: Any) -> Grey | None:
    """Make the file's first window by its VOI LUT function (PS3.3 C.11.2.1.2, C.11.2.1.3); None where it has none."""
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    if center is None or width is None or width <= 0:
        return None  # left blank or zero by writers that know no window
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID":
        return (1 + np.tanh(2 * (values - center) / width)) / 2  # the logistic function of twice that
    if function == "LINEAR_EXACT":
        return linear(values, center - width / 2, center + width / 2)
    if width <= 1:
        return (values > center - 0.5).astype(np.float64)
    return linear(values, center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


def _lut(values: Grey, item: Any, scaled: bool = False) -> Grey:
    """Map values through a modality or VOI LUT (PS3.3 C.11.1.1); with `scaled`, its nominal depth becomes 0..1."""
    try:
        entries, first, bits = (int(number) for number in item.LUTDescriptor)
        data = item.LUTData
        entries = entries or 65536
        if isinstance(data, bytes):
            narrow = bits <= 8 and len(data) in (entries, entries + entries % 2)
            big = getattr(item, "original_encoding", (None, True))[1] is False
            data = np.frombuffer(data, np.uint8 if narrow else ">u2" if big else "<u2")
        table = np.asarray(data, np.float64).reshape(-1)[:entries]
        if len(table) < entries:
            raise ValueError("short")
    except (ValueError, TypeError, AttributeError):
        raise DicomError("DICOM with a damaged lookup table") from None
    if first >= 32768 and values.min() < 0:
        first -= 65536  # a negative first value, read as an unsigned one
    out: Grey = table[np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)]
    # Some writers give fewer bits than their entries have.
    return out / max(2.0**bits - 1, table.max()) if scaled else out
