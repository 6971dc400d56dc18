"""Random changes of whole batches of 2D images, on their device, that a person's anatomy could also show.

Parameters come from (seed, epoch, sample id), not from a global generator: a sample is changed alike whatever its
batch mates, worker, rank or restart. No flips by default: a mirrored chest has its heart on the wrong side.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from medtrain.augment.affine import resample
from medtrain.augment.draws import check_batch, draw, normal, signed
from medtrain.core.ranges import Degrees, Part, checked

_DRAWS = 9


class Identity(nn.Module):
    """No augmentation, called like any other: what comes first comes back."""

    def forward(self, first: Any, *rest: Any, **more: Any) -> Any:
        return first


class Augment2d(nn.Module):
    """Rotation, scale, shift and flips in one resampling; then contrast, brightness and noise, clamped to 0..1.

    Active in training and evaluation mode alike: not calling it is up to the caller.

    Args:
        rotate: up to this many degrees either way.
        scale: up to this share larger or smaller.
        translate: up to this share of height and width either way.
        brightness: up to this much is added or taken away, in units of 0..1.
        contrast: differences from the image's mean grow or shrink by up to this share.
        noise: standard deviation of Gaussian noise, up to this, in units of 0..1.
        flip_horizontal: mirror left and right in half of the cases; not for chests.
        flip_vertical: mirror top and bottom in half of the cases.
        interpolation: ``bilinear``, or ``bicubic``, which blurs small images less.

    Raises:
        UsageError: a strength is negative, a share is 1 or more, or there is no such interpolation.
    """

    @checked("augment")
    def __init__(
        self,
        rotate: Degrees = 7.0,
        scale: Part = 0.1,
        translate: Part = 0.05,
        brightness: Part = 0.1,
        contrast: Part = 0.15,
        noise: Part = 0.02,
        flip_horizontal: bool = False,
        flip_vertical: bool = False,
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> None:
        super().__init__()
        self.interpolation = interpolation
        self.rotate, self.scale, self.translate = rotate, scale, translate
        self.brightness, self.contrast, self.noise = brightness, contrast, noise
        self.flip_horizontal, self.flip_vertical = flip_horizontal, flip_vertical

    @torch.no_grad()
    def forward(self, x_BCHW: Tensor, ids_B: Tensor, seed: int, epoch: int) -> Tensor:
        """Change a batch.

        Args:
            x_BCHW: floating point, 0..1.
            ids_B: integers that tell the samples apart, best on the CPU; rows of integers, (B, N), where a sample is
                drawn several times an epoch (its number and the draw's). An id that comes again in the batch is
                changed differently each time.
            seed: of the run.
            epoch: number of the epoch.

        Returns:
            (B, C, H, W), of the same type and device; the input is left alone.
        """
        check_batch(x_BCHW, ids_B)
        u_BK, noise_seeds = draw(ids_B.tolist(), seed, epoch, _DRAWS)
        u_BK = u_BK.to(x_BCHW.device, non_blocking=True)
        x = x_BCHW.float()
        if self.rotate or self.scale or self.translate or self.flip_horizontal or self.flip_vertical:
            x = self._moved(x, u_BK)
        add, times, sigma = (k.reshape(-1, 1, 1, 1) for k in u_BK[:, 4:7].unbind(1))
        if self.brightness or self.contrast:
            mean = x.mean((1, 2, 3), keepdim=True)
            x = (x - mean) * (1 + self.contrast * signed(times)) + mean + self.brightness * signed(add)
        if self.noise:
            x = x + self.noise * sigma * normal(x, noise_seeds)
        return x.clamp(0, 1).to(x_BCHW.dtype)

    def _moved(self, x_BCHW: Tensor, u_BK: Tensor) -> Tensor:
        wanted = torch.tensor([self.flip_horizontal, self.flip_vertical], device=u_BK.device)
        return resample(
            x_BCHW,
            degrees_B=self.rotate * signed(u_BK[:, 0]),
            scale_B=1 + self.scale * signed(u_BK[:, 1]),
            shift_B2=self.translate * signed(u_BK[:, 2:4]),
            flip_B2=(u_BK[:, 7:9] < 0.5) & wanted,
            interpolation=self.interpolation,
        )
