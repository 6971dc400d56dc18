"""Random changes of whole batches of volumes, on their device, that other patients or scanners could also show.

Parameters come from (seed, epoch, sample id) as in `medtrain.augment.images`. Whether a volume may be mirrored depends
on what is in it: a nodule has no side, a heart has.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.augment.affine import resample_volumes
from medtrain.augment.draws import check_batch, draw, normal, signed
from medtrain.core.ranges import AtLeast, Below, Degrees, Part, checked
from medtrain.target import DataSpec

_DRAWS = 15


class Augment3d(nn.Module):
    """Rotation, scale, shift and flips in one resampling; then blur, contrast, brightness, gamma and noise, in 0..1.

    Active in training and evaluation mode alike: not calling it is up to the caller.

    Args:
        spec: the data's, for their spacing; without one voxels are taken for cubes.
        rotate: up to this many degrees either way within the slices.
        tilt: up to this many degrees about each of the other two axes.
        scale: up to this share larger or smaller.
        translate: up to this share of each side either way.
        brightness: up to this much is added or taken away, in units of 0..1.
        contrast: differences from the volume's mean grow or shrink by up to this share.
        gamma: grey levels to a power between 1 / (1 + gamma) and 1 + gamma.
        noise: standard deviation of Gaussian noise, up to this, in units of 0..1.
        blur: standard deviation of a Gaussian kernel, up to this, in voxels.
        flip_left_right, flip_front_back, flip_head_feet: mirror W, H or D in half of the cases.

    Raises:
        UsageError: a strength is negative, or a share is 1 or more.
    """

    @checked("augment")
    def __init__(
        self,
        spec: DataSpec | None = None,
        rotate: Degrees = 15.0,
        tilt: Degrees = 5.0,
        scale: Part = 0.1,
        translate: Part = 0.05,
        brightness: Part = 0.05,
        contrast: Part = 0.1,
        gamma: Annotated[float, AtLeast(0), Below(10)] = 0.0,
        noise: Part = 0.02,
        blur: Annotated[float, AtLeast(0), Below(10)] = 0.0,
        flip_left_right: bool = False,
        flip_front_back: bool = False,
        flip_head_feet: bool = False,
    ) -> None:
        super().__init__()
        self.spacing: tuple[float, ...] = (spec.spacing if spec else None) or (1.0, 1.0, 1.0)
        self.rotate, self.tilt, self.scale, self.translate = rotate, tilt, scale, translate
        self.brightness, self.contrast, self.gamma, self.noise, self.blur = brightness, contrast, gamma, noise, blur
        self.flips = (flip_head_feet, flip_front_back, flip_left_right)

    @torch.no_grad()
    def forward(self, x_BCDHW: Tensor, ids_B: Tensor, seed: int, epoch: int) -> Tensor:
        """Change a batch; as `Augment2d`, with (B, C, D, H, W)."""
        check_batch(x_BCDHW, ids_B)
        u_BK, noise_seeds = draw(ids_B.tolist(), seed, epoch, _DRAWS)
        u_BK = u_BK.to(x_BCDHW.device, non_blocking=True)
        x = x_BCDHW.float()
        if self.rotate or self.tilt or self.scale or self.translate or any(self.flips):
            x = self._moved(x, u_BK)
        add, times, power, width, sigma = (k.reshape(-1, 1, 1, 1, 1) for k in u_BK[:, 10:].unbind(1))
        if self.blur:
            x = blurred(x, self.blur * width, math.ceil(3 * self.blur))
        if self.brightness or self.contrast:
            mean = x.mean((1, 2, 3, 4), keepdim=True)
            x = (x - mean) * (1 + self.contrast * signed(times)) + mean + self.brightness * signed(add)
        if self.gamma:
            x = x.clamp(0, 1) ** ((1 + self.gamma) ** signed(power))
        if self.noise:
            x = x + self.noise * sigma * normal(x, noise_seeds)
        return x.clamp(0, 1).to(x_BCDHW.dtype)

    def _moved(self, x_BCDHW: Tensor, u_BK: Tensor) -> Tensor:
        limits = u_BK.new_tensor([self.rotate, self.tilt, self.tilt])
        depth, height, width = self.spacing
        return resample_volumes(
            x_BCDHW,
            spacing=(depth, height, width),
            degrees_B3=limits * signed(u_BK[:, 0:3]),
            scale_B=1 + self.scale * signed(u_BK[:, 3]),
            shift_B3=self.translate * signed(u_BK[:, 4:7]),
            flip_B3=(u_BK[:, 7:10] < 0.5) & torch.tensor(self.flips, device=u_BK.device),
        )


def blurred(x_BCDHW: Tensor, sigma_B1111: Tensor, reach: int) -> Tensor:
    """Blur each volume by a Gaussian of its own width in voxels, cut off after `reach`; 0 changes nothing."""
    offsets = range(-reach, reach + 1)
    weights = [torch.exp(-(offset**2) / (2 * sigma_B1111.clamp(min=1e-3) ** 2)) for offset in offsets]
    total = torch.stack(weights).sum(0)
    x = x_BCDHW
    for axis in (2, 3, 4):
        pad = [0, 0] * (4 - axis) + [reach, reach] + [0, 0] * (axis - 2)
        wide = F.pad(x, pad, mode="replicate")
        x = sum(w / total * wide.narrow(axis, i, x.shape[axis]) for i, w in enumerate(weights))  # type: ignore[assignment]
    return x
