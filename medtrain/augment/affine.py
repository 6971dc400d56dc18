"""Rotation, scale, shift and flip of a batch of 2D images in one resampling, each image by its own amounts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resample(
    x_BCHW: Tensor,
    *,
    degrees_B: Tensor,
    scale_B: Tensor,
    right_B: Tensor,
    down_B: Tensor,
    mirror_B: Tensor,
    upend_B: Tensor,
    interpolation: str = "bilinear",
) -> Tensor:
    """Move each image; what comes in from outside is 0. Rotates in pixels, so circles stay round.

    Args:
        x_BCHW: float32.
        degrees_B: rotation.
        scale_B: size as a multiple, above 0.
        right_B, down_B: where in the source the centre is taken from, as a share of width and height.
        mirror_B, upend_B: bool, left and right or top and bottom exchanged.
        interpolation: ``bilinear`` or ``bicubic``; the second keeps fine detail and may overshoot.
    """
    height, width = x_BCHW.shape[-2:]
    degrees, scale, right, down, mirror, upend = (
        v.reshape(-1, 1, 1) for v in (degrees_B, scale_B, right_B, down_B, mirror_B, upend_B)
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
    grid_BHW2 = torch.stack([from_x, from_y], -1).expand(len(x_BCHW), -1, -1, -1)
    return F.grid_sample(x_BCHW, grid_BHW2, mode=interpolation, padding_mode="zeros", align_corners=False)
