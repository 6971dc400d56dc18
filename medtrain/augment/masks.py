"""Random changes of patches and their masks together, on their device, as nnU-Net makes them.

Isensee et al., Nature Methods 2021, supplementary note 4: what is changed, how often and how much. Inputs are
standardised (mean 0, deviation 1). Parameters come from (seed, epoch, sample id) as in `medtrain.augment.images`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.augment.affine import places_in_volumes
from medtrain.augment.draws import check_batch, draw, normal, signed
from medtrain.augment.volumes import blurred
from medtrain.core.ranges import AtLeast, Below, Degrees, Part, checked
from medtrain.target import DataSpec

_DRAWS = 29
IGNORED = -1  # what comes in from outside a patch, in its mask
THIN = 3.0  # times shorter or thicker than the others, from which on an axis is not turned out of its slices
ANY = 180.0  # degrees within such slices
LEAST = 1e-6

MIRRORS = ("mirror_head_feet", "mirror_front_back", "mirror_left_right")  # keys of the axes D, H, W
Rate = Part  # the share of samples that a change is made to


class AugmentMasks(nn.Module):
    """Rotation, scale and mirroring of patch and mask, the image linearly, the mask by the nearest voxel; then noise,
    blur, brightness, contrast, low resolution and gamma of the image.

    Active in training and evaluation mode alike: not calling it is up to the caller.

    Args:
        spec: the data's, for spacing and size; without one voxels are taken for cubes.
        rotate: up to this many degrees either way about each axis; of thin patches any angle within the slices.
        scale: down to 1 - scale, and up to 1 + 4/3 of it.
        spatial_rate: how often rotation, and how often scale.
        noise: variance of Gaussian noise, up to this. noise_rate: how often.
        blur: deviation of a Gaussian kernel in voxels, from half of this. blur_rate: how often.
        brightness: factor of up to this away from 1. brightness_rate: how often.
        contrast: differences from the mean times up to this away from 1, within the range. contrast_rate: how often.
        low_resolution: voxels coarser by up to this share. low_resolution_rate: how often.
        gamma: grey levels, from least to most as 0 to 1, to a power between 1 - 0.6 gamma and 1 + gamma; mean and
            deviation are put back. gamma_rate: how often; a third as often upside down.
        mirror_left_right, mirror_front_back, mirror_head_feet: in half of the samples; None: unless labels stand in one
            order along that axis (`spec.directed`).

    Raises:
        UsageError: a strength is negative, or a share is 1 or more.
    """

    @checked("augment")
    def __init__(
        self,
        spec: DataSpec | None = None,
        rotate: Degrees = 30.0,
        scale: Part = 0.3,
        spatial_rate: Rate = 0.2,
        noise: Part = 0.1,
        noise_rate: Rate = 0.1,
        blur: Annotated[float, AtLeast(0), Below(10)] = 1.0,
        blur_rate: Rate = 0.2,
        brightness: Part = 0.25,
        brightness_rate: Rate = 0.15,
        contrast: Part = 0.25,
        contrast_rate: Rate = 0.15,
        low_resolution: Part = 0.5,
        low_resolution_rate: Rate = 0.25,
        gamma: Part = 0.5,
        gamma_rate: Rate = 0.3,
        mirror_left_right: bool | None = None,
        mirror_front_back: bool | None = None,
        mirror_head_feet: bool | None = None,
    ) -> None:
        super().__init__()
        size = spec.size if spec and spec.size else (1, 1, 1)
        depth, height, width = (spec.spacing if spec else None) or (1.0, 1.0, 1.0)
        self.spacing = (depth, height, width)
        thin = depth > THIN * max(height, width) or THIN * size[0] < min(size[1:])
        self.degrees = (ANY, 0.0, 0.0) if thin and rotate else (rotate, rotate, rotate)
        self.scale, self.spatial_rate = scale, spatial_rate
        self.noise, self.noise_rate, self.blur, self.blur_rate = noise, noise_rate, blur, blur_rate
        self.brightness, self.brightness_rate = brightness, brightness_rate
        self.contrast, self.contrast_rate = contrast, contrast_rate
        self.low_resolution, self.low_resolution_rate = low_resolution, low_resolution_rate
        self.gamma, self.gamma_rate = gamma, gamma_rate
        wanted = zip(MIRRORS, (mirror_head_feet, mirror_front_back, mirror_left_right), strict=True)
        axes = mirrored_axes(dict(wanted), spec.directed if spec else ())
        self.mirrors = tuple(axis in axes for axis in range(3))

    @torch.no_grad()
    def forward(
        self, x_BCDHW: Tensor, mask_BDHW: Tensor, ids_B: Tensor, seed: int, epoch: int
    ) -> tuple[Tensor, Tensor]:
        """Change a batch.

        Args:
            x_BCDHW: standardised; beyond the volume 0.
            mask_BDHW: int64, labels and -1 where there is none to learn.
            ids_B: integers, (B,) or (B, K), that tell each sample from all others.

        Returns:
            both, the mask with -1 where something from outside the patch has come in.
        """
        check_batch(x_BCDHW, ids_B)
        u_BK, noise_seeds = draw(ids_B.tolist(), seed, epoch, _DRAWS)
        u_BK = u_BK.to(x_BCDHW.device, non_blocking=True)
        x, mask = self._moved(x_BCDHW.float().clone(), mask_BDHW.clone(), u_BK[:, :9])
        for axis, (mirrors, u_B) in enumerate(zip(self.mirrors, u_BK[:, 9:12].unbind(1), strict=True)):
            if mirrors:
                turned = u_B < 0.5
                x[turned], mask[turned] = x[turned].flip(axis + 2), mask[turned].flip(axis + 1)
        self._seen(x, u_BK[:, 12:], noise_seeds)
        return x.to(x_BCDHW.dtype), mask

    def _moved(self, x_BCDHW: Tensor, mask_BDHW: Tensor, u_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Turn and scale those samples that are drawn for it."""
        turns, grows = u_BK[:, 0] < self.spatial_rate, u_BK[:, 1] < self.spatial_rate
        moves = torch.nonzero(turns | grows)[:, 0]
        if not len(moves):
            return x_BCDHW, mask_BDHW
        u_MK, turns, grows = u_BK[moves], turns[moves], grows[moves]
        degrees_M3 = u_MK.new_tensor(self.degrees) * signed(u_MK[:, 2:5]) * turns[:, None]
        shrink, up = 1 - self.scale * u_MK[:, 6], 1 + self.scale * 4 / 3 * u_MK[:, 6]
        scale_M = torch.where(grows, torch.where(u_MK[:, 5] < 0.5, shrink, up), torch.ones_like(up))
        still = torch.zeros_like(degrees_M3)
        grid = places_in_volumes(x_BCDHW[moves], self.spacing, degrees_M3, scale_M, still, still.bool())
        x_BCDHW[moves] = F.grid_sample(x_BCDHW[moves], grid, align_corners=False)
        above_MDHW = (mask_BDHW[moves] - IGNORED).float()  # 0 is what lies outside
        near = F.grid_sample(above_MDHW[:, None], grid, mode="nearest", align_corners=False)[:, 0]
        mask_BDHW[moves] = near.round().to(mask_BDHW.dtype) + IGNORED
        return x_BCDHW, mask_BDHW

    def _seen(self, x_BCDHW: Tensor, u_BK: Tensor, noise_seeds: list[int]) -> None:
        """Change grey levels in place, each change in the samples that are drawn for it."""
        rates = (
            *(self.noise_rate, self.blur_rate, self.brightness_rate, self.contrast_rate, self.low_resolution_rate),
            *(self.gamma_rate / 3, self.gamma_rate),
        )
        drawn = [torch.nonzero(u_B < rate)[:, 0] for u_B, rate in zip(u_BK[:, :7].unbind(1), rates, strict=True)]
        noisy, soft, bright, flat, coarse, upside_down, bent = drawn
        if len(noisy) and self.noise:
            deviation = (self.noise * u_BK[noisy, 7]).sqrt().view(-1, 1, 1, 1, 1)
            x_BCDHW[noisy] += deviation * normal(x_BCDHW[noisy], [noise_seeds[n] for n in noisy.tolist()])
        if len(soft) and self.blur:
            width = (self.blur * (1 + u_BK[soft, 8]) / 2).view(-1, 1, 1, 1, 1)
            x_BCDHW[soft] = blurred(x_BCDHW[soft], width, math.ceil(3 * self.blur))
        x_BCDHW[bright] *= (1 + self.brightness * signed(u_BK[bright, 9])).view(-1, 1, 1, 1, 1)
        if len(flat) and self.contrast:
            x = x_BCDHW[flat]
            mean, low, high = x.mean((2, 3, 4), keepdim=True), x.amin((2, 3, 4), True), x.amax((2, 3, 4), True)
            times = (1 + self.contrast * signed(u_BK[flat, 10])).view(-1, 1, 1, 1, 1)
            x_BCDHW[flat] = ((x - mean) * times + mean).clamp(low, high)
        if self.low_resolution:
            for n, u in zip(coarse.tolist(), u_BK[coarse, 11].tolist(), strict=True):
                x_BCDHW[n] = coarsened(x_BCDHW[n], 1 - self.low_resolution * u)
        for some, u_B, sign in ((upside_down, u_BK[:, 12], -1), (bent, u_BK[:, 13], 1)):
            if len(some) and self.gamma:
                up = u_BK[some, 14] < 0.5
                power = torch.where(up, 1 + self.gamma * u_B[some], 1 - 0.6 * self.gamma * u_B[some])
                x_BCDHW[some] = sign * bent_grey(sign * x_BCDHW[some], power.view(-1, 1, 1, 1, 1))


def mirrored_axes(wanted: Mapping[str, Any], directed: Collection[int]) -> tuple[int, ...]:
    """List the axes (0, 1, 2 of D, H, W) that are mirrored: as a key of `wanted` says; where it is null, one without a
    direction; where there is no key, none."""
    given = [wanted.get(key, False) for key in MIRRORS]
    return tuple(axis for axis, key in enumerate(given) if (axis not in directed if key is None else key))


def coarsened(x_CDHW: Tensor, share: float) -> Tensor:
    """Bring a patch to this share of its voxels along each axis, by the nearest, and back by linear interpolation."""
    shape = x_CDHW.shape[1:]
    few = [max(1, round(n * share)) for n in shape]
    small = F.interpolate(x_CDHW[None], few, mode="nearest-exact")
    return F.interpolate(small, shape, mode="trilinear", align_corners=False)[0]


def bent_grey(x_BCDHW: Tensor, power_B1111: Tensor) -> Tensor:
    """Take grey levels, from least to most as 0 to 1, to a power; mean and deviation of each channel are put back."""
    axes = (2, 3, 4)
    low, mean, std = x_BCDHW.amin(axes, True), x_BCDHW.mean(axes, keepdim=True), x_BCDHW.std(axes, keepdim=True)
    span = (x_BCDHW.amax(axes, True) - low).clamp(min=LEAST)
    bent = ((x_BCDHW - low) / span) ** power_B1111
    return (bent - bent.mean(axes, keepdim=True)) / bent.std(axes, keepdim=True).clamp(min=LEAST) * std + mean
