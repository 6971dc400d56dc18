"""A volume made ready to be kept: values as int16 with scale and offset, and the facts that patches are drawn by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.content import of_labels, of_voxels
from medtrain.io.resample import labels_to_spacing, to_spacing
from medtrain.io.store.voxel_labels import as_labels
from medtrain.io.store.voxel_limits import Ends, Limits, limits_of, sampled, step_of
from medtrain.io.volume import Notes, Triple, Volume, VolumeError

STEPS = 65535  # of int16
LEVELS = 256  # that a window has at least
MOST = 1e30  # that grey levels may come to, single voxels aside: their squares are sums of 64 bits
FOREGROUND = 0.01  # of a plane's voxels that make it one of the foreground
FENCE = 4.0  # spans beyond which values don't count for the foreground: a histogram of one class shows none

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def prepared_mask(volume: Volume, spacing: Triple | None) -> tuple[NDArray[Any], dict[str, Any]]:
    """Make labels (1, D, H, W) as they are stored, uint8 or uint16, and the facts beside them (see `Stored`).

    Raises:
        VolumeError: voxels that are no labels.
    """
    volume = as_labels(volume)
    identity = of_labels(volume.x_CDHW)
    placed, regained = labels_to_spacing(volume, spacing)
    notes = dict(placed.notes)
    if regained:
        lie = "region lies" if regained == 1 else "regions lie"
        notes["small_regions"] = (
            f"{regained:,} marked {lie} between the voxels of data.spacing; each marks the one nearest to it"
        )
    x = placed.x_CDHW
    box = _ends([(x != 0).any((0, *(other for other in (1, 2, 3) if other != axis))) for axis in (1, 2, 3)])
    own = {"scale": [1.0], "offset": [0.0], "low": [0], "high": [1], "box": box}
    return x, _facts(placed, identity, notes) | own | {"marked": int(np.count_nonzero(x))}


def prepared_image(
    volume: Volume, spacing: Triple | None, window: Ends | None = None
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Make voxels (C, D, H, W) as they are stored, and the facts beside them (see `Stored`).

    Padding and what lies far beyond all others (`Limits`) is clipped before anything is resampled. Whole numbers
    within 65,536 of one another are then stored to the unit, unless they are resampled and a unit is more than 1/256 of
    the window; others in 65,535 steps, so with an error of at most half a step, of their range or of three windows.

    Args:
        window: what is shown of the values, if that is known; else the 0.5th to 99.5th percentile counts as such.

    Raises:
        VolumeError: voxels that are no numbers, or grey levels beyond all that there are.
    """
    _check_numbers(volume.x_CDHW)
    limits = [limits_of(channel, window) for channel in volume.x_CDHW]
    if (most := max(max(abs(limit.low), abs(limit.high)) for limit in limits)) > MOST:
        raise VolumeError(f"grey levels up to {most:.3g}, more than {MOST:g}: save it in other units")
    identity = volume.identity or of_voxels(volume.x_CDHW)
    notes = dict(volume.notes) | _clipped(limits, volume.x_CDHW[0].size)
    origin = np.array([limit.origin for limit in limits])
    volume, limits, exact = _within(volume, limits)
    placed = to_spacing(volume, spacing)
    del volume
    box, low, high = foreground(placed.x_CDHW, limits)
    shown = [(window[0] - off, window[1] - off) for off in origin] if window else [*zip(low, high, strict=True)]
    steps = []
    for limit, ends in zip(limits, shown, strict=True):
        fine = placed.x_CDHW.dtype.kind != "f" or ends[1] - ends[0] >= LEVELS
        steps.append(_units(limit) if exact and fine else _steps(limit, ends if window else None))
    if window or not exact:  # the file's own whole numbers are as fine as its values are
        notes |= _coarse(
            [step for step, _ in steps], shown, "window (data.window)" if window else "0.5th to 99.5th percentile"
        )
    stored = np.stack([_stored(x, *step) for x, step in zip(placed.x_CDHW, steps, strict=True)])
    own: dict[str, Any] = {"low": (low + origin).tolist(), "high": (high + origin).tolist(), "box": box, "marked": 0}
    own |= {
        "scale": [step for step, _ in steps],
        "offset": [off + first for (_, off), first in zip(steps, origin, strict=True)],
    }
    return stored, _facts(placed, identity, notes) | own


def _within(volume: Volume, limits: Sequence[Limits]) -> tuple[Volume, list[Limits], bool]:
    """Bring voxels within the limits where they aren't; and tell whether they are whole and go into int16 as such."""
    x = volume.x_CDHW
    exact = np.issubdtype(x.dtype, np.integer) and all(limit.high - limit.low <= STEPS for limit in limits)
    if (exact or x.dtype == np.float32) and all(limit.idle for limit in limits):
        return volume, [*limits], exact
    within = np.stack([limit.applied(channel, exact) for limit, channel in zip(limits, x, strict=True)])
    return volume.with_voxels(within, volume.affine), [limit.less_origin() for limit in limits], exact


def _clipped(limits: Sequence[Limits], size: int) -> Notes:
    """Say what was clipped, of the channel that has most of it."""
    notes: Notes = {}
    if (worst := max(limits, key=lambda limit: limit.padded)).padded:
        ends = [f"{value:.6g}" for value in (worst.below, worst.above) if np.isfinite(value)]
        notes["padding"] = (
            f"{worst.padded:,} of {size:,} voxels hold {' or '.join(ends)}, far from all others: padding, which its "
            f"window of {worst.usual[0]:.6g} to {worst.usual[1]:.6g} leaves out"
        )
    if (worst := max(limits, key=lambda limit: limit.beyond)).beyond:
        notes["extreme"] = (
            f"{worst.beyond:,} of {size:,} voxels lie beyond {worst.low:.6g} to {worst.high:.6g} and are clipped "
            f"(the file has {worst.least:.6g} to {worst.most:.6g})"
        )
    if any(limit.least == limit.most for limit in limits):
        notes["constant"] = f"all voxels have the same value, {limits[0].least:.6g}: nothing can be seen"
    return notes


def _coarse(steps: Sequence[float], shown: Sequence[Ends], where: str) -> Notes:
    levels = [(ends[1] - ends[0]) / step for step, ends in zip(steps, shown, strict=True) if ends[1] > ends[0]]
    if not levels or min(levels) > LEVELS - 1e-6:
        return {}
    return {
        "coarse": f"has {min(levels):.3g} steps of grey in its {where}, fewer than {LEVELS}: what it shows is coarse"
    }


def _facts(placed: Volume, identity: str, notes: Notes) -> dict[str, Any]:
    source = placed.source.to_dict()
    affine, spacing = placed.affine.tolist(), list(placed.spacing)
    return {"affine": affine, "spacing": spacing, "source": source, "identity": identity, "notes": notes}


def foreground(x_CDHW: NDArray[Any], limits: Sequence[Limits]) -> tuple[Box, NDArray[np.float64], NDArray[np.float64]]:
    """Find the box of what is no background, and the 0.5th and 99.5th percentile of each channel's values within it.

    Background is what lies below Otsu's threshold (IEEE Trans. SMC 1979) of the first channel: the air around a body.
    Padding is background, and no value; nor is what has run away (`Limits.shown`).
    """
    step, (low, high) = step_of(x_CDHW[0]), limits[0].usual
    off = FENCE * (high - low)
    few = np.clip(np.asarray(sampled(x_CDHW[0]), np.float32), low - off, high + off)
    above = few > otsu(few)
    planes = [above.mean(tuple(other for other in range(3) if other != axis)) >= FOREGROUND for axis in range(3)]
    ends = [
        (start * step, min(stop * step, size)) if stop else (0, size)
        for (start, stop), size in zip(_ends(planes), x_CDHW.shape[1:], strict=True)
    ]
    inner = tuple(slice(start, stop, step) for start, stop in ends)
    values = [limit.shown(channel[inner].ravel()) for channel, limit in zip(x_CDHW, limits, strict=True)]
    low_C, high_C = np.array([limit.window(own) for own, limit in zip(values, limits, strict=True)], np.float64).T
    return (ends[0], ends[1], ends[2]), low_C, high_C


def otsu(x: NDArray[np.float32]) -> float:
    """Find the threshold that parts values into two classes of the greatest variance between; -inf if all are equal."""
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


def _ends(marked: Sequence[NDArray[np.bool_]]) -> Box:
    ends = [(int(marks[0]), int(marks[-1]) + 1) if len(marks := np.flatnonzero(axis)) else (0, 0) for axis in marked]
    return ends[0], ends[1], ends[2]


def _units(limit: Limits) -> tuple[float, float]:
    """Give (scale, offset) that keep whole numbers as they are."""
    low = limit.low
    return 1.0, 0.0 if low >= -32768 and limit.high <= 32767 else float(np.floor(low)) + 32768


def _steps(limit: Limits, window: Ends | None) -> tuple[float, float]:
    """Give (scale, offset) that make an int16 of each value between the limits; beyond a window, within its width."""
    low, high = limit.low, limit.high
    if window is not None:
        wide = window[1] - window[0]
        low, high = max(low, window[0] - wide), min(high, window[1] + wide)
    scale = (high - low) / STEPS if high > low else 1.0
    return scale, low + 32768 * scale


def _stored(x_DHW: NDArray[Any], scale: float, offset: float) -> NDArray[np.int16]:
    out = np.empty(x_DHW.shape, np.int16)
    for plane, stored in zip(x_DHW, out, strict=True):
        np.clip(np.rint((plane - offset) / scale), -32768, 32767, out=stored, casting="unsafe")
    return out
