"""Volumes on a grid of another spacing, axis by axis, around the same centre.

The centre stays because it is the same for all ways of storing a volume: the same anatomy gives the same voxels whether
its file runs from head to foot or the other way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medtrain.io.small_regions import regain
from medtrain.io.volume import MOST_VOXELS, Triple, Volume, VolumeError

Positions = list[NDArray[np.float64]]


def new_positions(volume: Volume, spacing: Triple) -> Positions:
    """Place the voxels of a grid of `spacing` (D, H, W) around the same centre, in indices of the old ones.

    Raises:
        VolumeError: it would have more than 2 billion voxels.
    """
    old = volume.x_CDHW.shape[1:]
    size = [max(1, round(n * was / now)) for n, was, now in zip(old, volume.spacing, spacing, strict=True)]
    if np.prod(size, dtype=float) * len(volume.x_CDHW) > MOST_VOXELS:
        raise VolumeError(f"{' x '.join(map(str, size))} voxels at {' x '.join(map(str, spacing))} mm: too many")
    steps = [now / was for was, now in zip(volume.spacing, spacing, strict=True)]
    return [
        (np.arange(new) - (new - 1) / 2) * step + (was - 1) / 2 for new, was, step in zip(size, old, steps, strict=True)
    ]


def is_same(positions: NDArray[np.float64], old: int) -> bool:
    """Tell whether an axis stays as it is."""
    return len(positions) == old and (old == 1 or abs(positions[1] - positions[0] - 1) <= 1e-4)


def to_spacing(volume: Volume, spacing: Triple | None) -> Volume:
    """Resample a volume to voxels of `spacing` mm (D, H, W); None leaves it as it is.

    Linear interpolation; along an axis that becomes coarser the kernel widens with the voxels, so that what lies
    between two new voxels is averaged instead of dropped.

    Raises:
        VolumeError: the result would have more than 2 billion voxels.
    """
    if spacing is None:
        return volume
    old, positions = volume.x_CDHW.shape[1:], new_positions(volume, spacing)
    x = volume.x_CDHW
    for axis in sorted(range(3), key=lambda axis: len(positions[axis]) / old[axis]):  # what shrinks most goes first
        if not is_same(positions[axis], old[axis]):
            x = weighted(x, axis + 1, positions[axis], max(1.0, spacing[axis] / volume.spacing[axis]))
    return placed(volume, x, spacing)


def labels_to_spacing(volume: Volume, spacing: Triple | None) -> tuple[Volume, int]:
    """Resample labels: a voxel is the old one whose centre is next. Regions that this would lose mark one voxel.

    A lesion of a few voxels lies between the centres of larger ones. So each connected region (26 neighbours, one
    label) of which no voxel was taken marks the new voxel that most of it lies in.

    Returns:
        the labels, and how many regions mark one voxel by that rule.

    Raises:
        VolumeError: the result would have more than 2 billion voxels.
    """
    if spacing is None:
        return volume, 0
    old, positions = volume.x_CDHW[0], new_positions(volume, spacing)
    taken = [
        np.arange(n) if is_same(p, n) else np.clip(np.floor(p + 0.5).astype(np.intp), 0, n - 1)
        for p, n in zip(positions, old.shape, strict=True)
    ]
    new = old[np.ix_(*taken)]
    steps = [now / was for was, now in zip(volume.spacing, spacing, strict=True)]
    regained = regain(old, new, taken, steps) if max(steps) > 1 else 0
    return placed(volume, new[None], spacing), regained


def placed(volume: Volume, x_CDHW: NDArray, spacing: Triple) -> Volume:
    """Give a volume other voxels of `spacing` around its centre."""
    old, size = volume.x_CDHW.shape[1:], x_CDHW.shape[1:]
    steps = [now / was for was, now in zip(volume.spacing, spacing, strict=True)]
    scaled = np.diag([*steps[::-1], 1.0])
    scaled[:3, 3] = [(o - 1) / 2 - (n - 1) / 2 * step for o, n, step in zip(old, size, steps, strict=True)][::-1]
    return volume.with_voxels(x_CDHW, volume.affine @ scaled)


def weighted(x: NDArray, axis: int, positions: NDArray[np.float64], reach: float) -> NDArray[np.float32]:
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
