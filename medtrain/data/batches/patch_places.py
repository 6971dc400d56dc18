"""Where patches lie in a volume: on a grid that leaves no voxel out, around a point, or at random.

All is counted in voxels along D, H, W of the resampled volume. A patch sticks out along an axis on which the
volume is smaller than it, and a random one by `data.beyond` of its size at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.store.voxel_values import Box

Zyx = tuple[int, int, int]
EVEN, STEPS = 1.25, 100  # more steps are more even, but of few places

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
    """Draw the start of a patch at random within `box`, whose voxels are all seen about equally often.

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
    return low - out + int(np.searchsorted(_shares(high - low, size, out), draw.random(), side="right"))


@lru_cache(maxsize=4096)
def _shares(length: int, size: int, out: int) -> NDArray[np.float64]:
    """Add up the shares of draws that each place gets, from `out` voxels before the first of `length` to `out` behind.

    If all places were equally likely, border voxels would be seen least: few patches reach them. Shares that see all
    voxels equally often are few places, those of grids that patches tile; so shares start equal and are brought nearer
    to it by the multiplicative steps of Richardson (J. Opt. Soc. Am. 1972) and Lucy (Astron. J. 1974), two at once,
    until no voxel is seen `EVEN` times as often as another, or for `STEPS`.
    """
    first_P = np.arange(length - size + 2 * out + 1) - out
    start_P, stop_P = np.maximum(first_P, 0), np.minimum(first_P + size, length)
    voxel_L = np.arange(length)
    after_L, before_L = np.minimum(voxel_L + out, len(first_P) - 1) + 1, np.maximum(voxel_L - size + 1 + out, 0)
    share_P = np.full(len(first_P), 1 / len(first_P))
    for _ in range(STEPS):
        seen_L = _within(share_P, before_L, after_L)
        if seen_L.max() < EVEN * seen_L.min():
            break
        share_P *= (_within(1 / seen_L, start_P, stop_P) / (stop_P - start_P)) ** 2
        share_P /= share_P.sum()
    return np.cumsum(share_P)[:-1]


def _within(values: NDArray[np.float64], first: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.float64]:
    """Add up values from `first` to before `stop`."""
    sums = np.append(0.0, np.cumsum(values))
    return np.asarray(sums[stop] - sums[first])


def cut(volume_CDHW: NDArray, start: Zyx, size: Zyx) -> tuple[NDArray, list[tuple[int, int]]]:
    """View what of a patch lies in the volume, and how many voxels it lacks before and after it on each axis."""
    index, lacks = [slice(None)], []
    for n, first, length in zip(volume_CDHW.shape[1:], start, size, strict=True):
        index.append(slice(max(0, first), min(n, first + length)))
        lacks.append((max(0, -first), max(0, first + length - n)))
    return volume_CDHW[tuple(index)], lacks
