"""A volume made ready to be kept: values as int16 with scale and offset, and the facts that patches are drawn by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.content import of_voxels
from medtrain.io.resample import to_spacing
from medtrain.io.volume import Triple, Volume, VolumeError

SAMPLE = 1 << 21  # voxels that background and percentiles are found by
PERCENTILES = (0.5, 99.5)
FOREGROUND = 0.01  # of a plane's voxels that make it one of the foreground

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def prepared(volume: Volume, spacing: Triple | None, mask: bool) -> tuple[NDArray[Any], dict[str, Any]]:
    """Make voxels (C, D, H, W) as they are stored, and the facts beside them (see `Stored`).

    Whole numbers within 65,536 of one another are stored to the unit; others in 65,535 steps of their range, so with an
    error of at most half a step.

    Raises:
        VolumeError: voxels that are no numbers, or a mask of something else than labels.
    """
    _check_numbers(volume.x_CDHW)
    whole = bool(np.issubdtype(volume.x_CDHW.dtype, np.integer))
    if mask:
        volume = volume.with_voxels(_labels(volume.x_CDHW), volume.affine)
    placed = to_spacing(volume, spacing, nearest=mask)
    facts: dict[str, Any] = {
        "affine": placed.affine.tolist(),
        "spacing": list(placed.spacing),
        "source": placed.source.to_dict(),
        "identity": of_voxels(volume.x_CDHW, volume.affine),
    }
    x = placed.x_CDHW
    if mask:
        box = _ends([(x != 0).any((0, *(other for other in (1, 2, 3) if other != axis))) for axis in (1, 2, 3)])
        marked = int(np.count_nonzero(x))
        return x, facts | {"scale": [1.0], "offset": [0.0], "low": [0], "high": [1], "box": box, "marked": marked}
    scale, offset = zip(*(_steps(channel, whole) for channel in x), strict=True)
    box, low, high = foreground(x)
    stored = np.stack([_stored(*channel) for channel in zip(x, scale, offset, strict=True)])
    return stored, facts | {"scale": scale, "offset": offset, "low": low, "high": high, "box": box, "marked": 0}


def foreground(x_CDHW: NDArray[Any]) -> tuple[Box, list[float], list[float]]:
    """The box of what is no background, and the 0.5th and 99.5th percentile of each channel within it.

    Background is what lies below Otsu's threshold (IEEE Trans. SMC 1979) of the first channel: the air around a body.
    """
    step = max(1, int(np.ceil((x_CDHW[0].size / SAMPLE) ** (1 / 3))))
    few = np.asarray(x_CDHW[:, ::step, ::step, ::step], np.float32)
    above = few[0] > otsu(few[0])
    planes = [above.mean(tuple(other for other in range(3) if other != axis)) >= FOREGROUND for axis in range(3)]
    ends = [
        (start * step, min(stop * step, size)) if stop else (0, size)
        for (start, stop), size in zip(_ends(planes), x_CDHW.shape[1:], strict=True)
    ]
    within = x_CDHW[(slice(None), *(slice(start, stop, step) for start, stop in ends))]
    low, high = np.percentile(within.reshape(len(within), -1), PERCENTILES, axis=1)
    return (ends[0], ends[1], ends[2]), low.tolist(), high.tolist()


def otsu(x: NDArray[np.float32]) -> float:
    """The threshold that parts values into the two classes of the greatest variance between them; -inf if all equal."""
    if x.min() == x.max():
        return -np.inf  # one class
    count, edges = np.histogram(x, 256)
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(count)
    above = below[-1] - below
    weighted = np.cumsum(count * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (weighted / below - (weighted[-1] - weighted) / above) ** 2
    return float(edges[1:][int(np.nanargmax(between[:-1]))])


def _check_numbers(x_CDHW: NDArray[Any]) -> None:
    if np.issubdtype(x_CDHW.dtype, np.integer):
        return
    bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for channel in x_CDHW for plane in channel)
    if bad:
        raise VolumeError(f"{bad:,} of {x_CDHW.size:,} voxels are NaN or infinite")


def _labels(x_CDHW: NDArray[Any]) -> NDArray[np.uint8]:
    if len(x_CDHW) > 1:
        raise VolumeError(f"a mask of {len(x_CDHW)} channels, not one")
    labels = np.empty(x_CDHW.shape, np.uint8)
    for plane, out in zip(x_CDHW[0], labels[0], strict=True):
        if plane.min() < 0 or plane.max() > 255 or (plane != np.rint(plane)).any():
            raise VolumeError("a mask whose values are no labels from 0 to 255")
        out[:] = plane
    return labels


def _ends(marked: list[NDArray[np.bool_]]) -> Box:
    ends = [(int(at[0]), int(at[-1]) + 1) if len(at := np.flatnonzero(axis)) else (0, 0) for axis in marked]
    return ends[0], ends[1], ends[2]


def _steps(x: NDArray[Any], whole: bool) -> tuple[float, float]:
    """(scale, offset) that make an int16 of each value."""
    low, high = float(x.min()), float(x.max())
    if whole and high - low <= 65535:
        return 1.0, 0.0 if low >= -32768 and high <= 32767 else float(np.floor(low)) + 32768
    scale = (high - low) / 65535 or 1.0
    return scale, low + 32768 * scale


def _stored(x_DHW: NDArray[Any], scale: float, offset: float) -> NDArray[np.int16]:
    out = np.empty(x_DHW.shape, np.int16)
    for plane, stored in zip(x_DHW, out, strict=True):
        np.clip(np.rint((plane - offset) / scale), -32768, 32767, out=stored, casting="unsafe")
    return out
