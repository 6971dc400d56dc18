"""Rotation, scale, shift and flip of a batch of images or volumes in one resampling, each sample by its own amounts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resample(
    x_BCHW: Tensor,
    *,
    degrees_B: Tensor,
    scale_B: Tensor,
    shift_B2: Tensor,
    flip_B2: Tensor,
    interpolation: str = "bilinear",
) -> Tensor:
    """Move each image; what comes in from outside is 0. Rotates in pixels, so circles stay round.

    Args:
        x_BCHW: float32.
        degrees_B: rotation.
        scale_B: size as a multiple, above 0.
        shift_B2: where in the source the centre is taken from, to the right and down, as a share of width and height.
        flip_B2: bool, left and right or top and bottom exchanged.
        interpolation: ``bilinear`` or ``bicubic``; the second keeps fine detail and may overshoot.
    """
    height, width = x_BCHW.shape[-2:]
    degrees, scale, right, down, mirror, upend = (
        v.reshape(-1, 1, 1) for v in (degrees_B, scale_B, *shift_B2.unbind(1), *flip_B2.unbind(1))
    )
    # element by element rather than by a matrix product, which may round differently in another batch
    angle, shrink = torch.deg2rad(degrees), 1 / scale
    device = x_BCHW.device
    y = torch.linspace(1 / height - 1, 1 - 1 / height, height, device=device).reshape(1, -1, 1) * height
    x = torch.linspace(1 / width - 1, 1 - 1 / width, width, device=device).reshape(1, 1, -1) * width
    cos, sin = torch.cos(angle) * shrink, torch.sin(angle) * shrink
    from_x = (cos * x + sin * y) / width + 2 * right
    from_y = (cos * y - sin * x) / height + 2 * down
    from_x = torch.where(mirror, -from_x, from_x)
    from_y = torch.where(upend, -from_y, from_y)
    # not len(): a traced batch has no number
    grid_BHW2 = torch.stack([from_x, from_y], -1).expand(x_BCHW.shape[0], -1, -1, -1)
    return F.grid_sample(x_BCHW, grid_BHW2, mode=interpolation, padding_mode="zeros", align_corners=False)


def resample_volumes(
    x_BCDHW: Tensor,
    *,
    spacing: tuple[float, float, float],
    degrees_B3: Tensor,
    scale_B: Tensor,
    shift_B3: Tensor,
    flip_B3: Tensor,
) -> Tensor:
    """Move each volume, with trilinear interpolation; beyond its border, its outermost voxels go on (it is a patch).

    Args:
        x_BCDHW: float32.
        spacing, degrees_B3, scale_B, shift_B3, flip_B3: as of `places_in_volumes`.
    """
    grid_BDHW3 = places_in_volumes(x_BCDHW, spacing, degrees_B3, scale_B, shift_B3, flip_B3)
    return F.grid_sample(x_BCDHW, grid_BDHW3, padding_mode="border", align_corners=False)


def places_in_volumes(
    x_BCDHW: Tensor,
    spacing: tuple[float, float, float],
    degrees_B3: Tensor,
    scale_B: Tensor,
    shift_B3: Tensor,
    flip_B3: Tensor,
) -> Tensor:
    """Say where the voxels of moved volumes come from, (B, D, H, W, 3), as `grid_sample` takes it.

    Turns in mm, so that balls stay round where voxels are no cubes: first about the axis of W, then of H, then of D.

    Args:
        x_BCDHW: of which only shape and device count.
        spacing: mm a voxel along D, H, W; only its proportions count.
        degrees_B3: rotations about the axes of D, H, W; the first is within the slices.
        scale_B: size as a multiple, above 0.
        shift_B3: where in the source the centre is taken from, as a share of D, H, W.
        flip_B3: bool, D, H, W exchanged end for end.
    """
    device, sizes, whole = x_BCDHW.device, x_BCDHW.shape[2:], (x_BCDHW.shape[0], *x_BCDHW.shape[2:])
    halves = [n * step / 2 for n, step in zip(sizes, spacing, strict=True)]  # mm from the centre to the border
    z, y, x = (
        (torch.linspace(1 / n - 1, 1 - 1 / n, n, device=device) * half).reshape(shape)
        for n, half, shape in zip(sizes, halves, ((1, -1, 1, 1), (1, 1, -1, 1), (1, 1, 1, -1)), strict=True)
    )
    # element by element, as in `resample`
    angle_B3, shrink = torch.deg2rad(degrees_B3), (1 / scale_B).reshape(-1, 1, 1, 1)
    (cos_z, cos_y, cos_x), (sin_z, sin_y, sin_x) = (
        [v.reshape(-1, 1, 1, 1) for v in f(angle_B3).unbind(1)] for f in (torch.cos, torch.sin)
    )
    y, z = cos_x * y + sin_x * z, cos_x * z - sin_x * y
    x, z = cos_y * x - sin_y * z, cos_y * z + sin_y * x
    x, y = cos_z * x + sin_z * y, cos_z * y - sin_z * x
    places = []
    for axis, source in ((2, x), (1, y), (0, z)):
        place = source * shrink / halves[axis] + 2 * shift_B3[:, axis].reshape(-1, 1, 1, 1)
        places.append(torch.where(flip_B3[:, axis].reshape(-1, 1, 1, 1), -place, place).expand(whole))
    return torch.stack(places, -1)
