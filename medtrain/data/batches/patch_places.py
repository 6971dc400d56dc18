"""Where patches lie in a volume: on a grid that leaves no voxel out, around a point, or at random.

All is counted in voxels along D, H, W of the resampled volume. A patch sticks out along an axis on which the
volume is smaller than it, and a random one by a quarter of its size at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.store.voxel_values import Box

Zyx = tuple[int, int, int]
Starts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # along each axis; a grid is all combinations


def grid_starts(low: int, high: int, size: int, stride: int) -> NDArray[np.int64]:
    """List first voxels of patches that cover low to high, evenly and at most `stride` apart; no tail is lost.

    Less than a patch is covered by one around its middle.
    """
    spare = high - low - size
    if spare <= 0:
        return np.array([low + spare // 2])
    return low + np.linspace(0, spare, int(np.ceil(spare / stride)) + 1).round().astype(np.int64)


def grid(shape: Sequence[int], box: Box, size: Zyx, stride: Zyx) -> Starts:
    """Lay a grid over `box`, kept within the volume where that is large enough."""
    z, y, x = (
        settle(grid_starts(*ends, length, step), n, length)
        for n, ends, length, step in zip(shape, box, size, stride, strict=True)
    )
    return np.unique(z), np.unique(y), np.unique(x)


def settle(start: Any, n: int, size: int) -> Any:
    """Move `start` so that the patch lies in the volume, or the volume in the patch if it is the smaller one."""
    return np.clip(start, min(0, n - size), max(0, n - size))


def around(centre: Sequence[float], shape: Sequence[int], size: Zyx, off: Sequence[float] = (0, 0, 0)) -> Zyx:
    """Find the start of a patch around a point, `off` (shares of its size) beside it, settled."""
    z, y, x = (
        int(settle(np.array(round(c - length / 2 + o * length)), n, length))
        for c, n, length, o in zip(centre, shape, size, off, strict=True)
    )
    return z, y, x


def anywhere(draw: np.random.Generator, shape: Sequence[int], box: Box, size: Zyx, beyond: float = 0.25) -> Zyx:
    """Draw the start of a patch at random within `box`, of whose border no less is seen than of its middle.

    Places are drawn from all at which a patch touches the box, so that each of its voxels lies in equally many, and are
    then moved to within `beyond` of a patch's size of it, so that no patch is mostly padding: nothing is lost by that
    move, and what lies near a border is seen more often. Where the box is no larger than a patch, all of it is seen.

    Args:
        beyond: the share of a patch that lies beyond the edges at most; with 0, the rule of runs that lack the key, all
            places within are equally likely.
    """
    z, y, x = (_start(draw, n, *ends, length, beyond) for n, ends, length in zip(shape, box, size, strict=True))
    return z, y, x


def _start(draw: np.random.Generator, n: int, low: int, high: int, size: int, beyond: float) -> int:
    spare = high - low - size
    if spare <= 0 or not beyond:
        return int(settle(draw.integers(min(low, high - size), max(low, high - size) + 1), n, size))
    out = min(int(beyond * size), spare)
    start = np.clip(draw.integers(low - size + 1, high), low - out, high - size + out)
    return int(np.clip(start, -out, n - size + out))


def cut(volume_CDHW: NDArray, start: Zyx, size: Zyx) -> tuple[NDArray, list[tuple[int, int]]]:
    """View what of a patch lies in the volume, and how many voxels it lacks before and after it on each axis."""
    index, lacks = [slice(None)], []
    for n, first, length in zip(volume_CDHW.shape[1:], start, size, strict=True):
        index.append(slice(max(0, first), min(n, first + length)))
        lacks.append((max(0, -first), max(0, first + length - n)))
    return volume_CDHW[tuple(index)], lacks
