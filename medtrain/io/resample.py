"""Volumes on a grid of another spacing, axis by axis, around the same centre.

The centre stays because it is the same for all ways of storing a volume: the same anatomy gives the same voxels whether
its file runs from head to foot or the other way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medtrain.io.volume import MOST_VOXELS, Triple, Volume, VolumeError


def to_spacing(volume: Volume, spacing: Triple | None, nearest: bool = False) -> Volume:
    """Resample a volume to voxels of `spacing` mm (D, H, W); None leaves it as it is.

    Linear interpolation; along an axis that becomes coarser the kernel widens with the voxels, so that what lies
    between two new voxels is averaged instead of dropped. With `nearest`, a voxel is the old one whose centre is next.

    Raises:
        VolumeError: the result would have more than 2 billion voxels.
    """
    if spacing is None:
        return volume
    old = volume.x_CDHW.shape[1:]
    size = [max(1, round(n * was / now)) for n, was, now in zip(old, volume.spacing, spacing, strict=True)]
    if np.prod(size, dtype=float) * len(volume.x_CDHW) > MOST_VOXELS:
        raise VolumeError(f"{' x '.join(map(str, size))} voxels at {' x '.join(map(str, spacing))} mm: too many")
    steps = [now / was for was, now in zip(volume.spacing, spacing, strict=True)]
    x = volume.x_CDHW
    for axis in sorted(range(3), key=lambda axis: size[axis] / old[axis]):  # what shrinks most goes first
        if size[axis] != old[axis] or abs(steps[axis] - 1) > 1e-4:
            positions = (np.arange(size[axis]) - (size[axis] - 1) / 2) * steps[axis] + (old[axis] - 1) / 2
            x = _nearest(x, axis + 1, positions) if nearest else _linear(x, axis + 1, positions, max(1.0, steps[axis]))
    scaled = np.diag([*steps[::-1], 1.0])
    scaled[:3, 3] = [
        (n - 1) / 2 - step * (m - 1) / 2 for n, m, step in zip(old[::-1], size[::-1], steps[::-1], strict=True)
    ]
    return volume.with_voxels(x, volume.affine @ scaled)


def _nearest(x: NDArray, axis: int, positions: NDArray[np.float64]) -> NDArray:
    return np.take(x, np.clip(np.floor(positions + 0.5).astype(np.intp), 0, x.shape[axis] - 1), axis)


def _linear(x: NDArray, axis: int, positions: NDArray[np.float64], reach: float) -> NDArray[np.float32]:
    """Weigh the old voxels within `reach` of each new one, by a triangle of weights."""
    first = np.ceil(positions - reach).astype(np.intp)
    taps = first[:, None] + np.arange(int(np.floor(2 * reach)) + 1)
    weight = np.clip(1 - np.abs(taps - positions[:, None]) / reach, 0, None)
    weight = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
    taps = np.clip(taps, 0, x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    out = np.zeros((*x.shape[:axis], len(positions), *x.shape[axis + 1 :]), np.float32)
    for tap, share in zip(taps.T, weight.T, strict=True):
        if share.any():
            out += np.take(x, tap, axis) * share.reshape(shape)
    return out
