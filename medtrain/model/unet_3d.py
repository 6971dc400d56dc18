"""3D U-Nets for masks: an encoder that shrinks by the planned strides, a decoder that brings the details back.

Ronneberger et al., U-Net, MICCAI 2015; in 3D with instance norm, leaky ReLU and deep supervision as Isensee et al.,
nnU-Net, Nature Methods 2021; residual encoder as Isensee et al., nnU-Net revisited, MICCAI 2024; V-Net: Milletari et
al., 3DV 2016, with these strides and norms. In training the outputs are those of every resolution but the coarsest,
finest first; in evaluation the finest alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medtrain.core.ranges import Count, Part, checked
from medtrain.model.family import member
from medtrain.model.nnunet_weights import fit_nnunet
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec

Zyx = tuple[int, int, int]

MOST = 320  # channels of any stage
THICK = 2.0  # times the shortest side of a voxel, from which on a convolution does not reach along an axis
USUAL = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))  # strides where nothing was planned


class Norm(nn.InstanceNorm3d):
    """Instance norm; in training as a group norm of one channel a group, the same numbers by a faster way back."""

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Normalise each channel of each sample."""
        if self.training:
            return nn.functional.group_norm(x_BCDHW, self.num_features, self.weight, self.bias, self.eps)
        return super().forward(x_BCDHW)


def layers(inside: int, outside: int, kernel: Zyx, stride: Zyx, number: int, dropout: float) -> list[nn.Module]:
    """List convolution, instance norm and leaky ReLU, some times; the first convolution may shrink."""
    z, y, x = kernel
    made: list[nn.Module] = []
    for n in range(number):
        step = stride if n == 0 else (1, 1, 1)
        made += [
            nn.Conv3d(inside if n == 0 else outside, outside, kernel, step, (z // 2, y // 2, x // 2)),
            *([nn.Dropout3d(dropout)] if dropout else []),
            Norm(outside, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return made


class Convolutions(nn.Sequential):
    """Convolutions one after the other; see `layers`."""

    def __init__(self, *shape: Any) -> None:
        super().__init__(*layers(*shape))


class Residual(nn.Module):
    """Convolutions beside a short way, added before the last activation (He et al., CVPR 2016)."""

    def __init__(self, inside: int, outside: int, kernel: Zyx, stride: Zyx, number: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*layers(inside, outside, kernel, stride, number, dropout)[:-1])
        self.activation = nn.LeakyReLU(0.01, inplace=True)
        same = inside == outside and stride == (1, 1, 1)
        self.short: nn.Module = nn.Identity() if same else nn.Conv3d(inside, outside, 1, stride)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Compute the stage."""
        activated: Tensor = self.activation(self.convolutions(x_BCDHW) + self.short(x_BCDHW))
        return activated


Block = Callable[[int, int, Zyx, Zyx, int, float], nn.Module]


class Form(NamedTuple):
    """What tells the U-Nets of a family apart.

    Args:
        encode, decode: what a stage of either side is made of.
        depths: of how many convolutions in the encoder, the last number for all further stages.
        sides: voxels a side of a kernel.
    """

    encode: Block
    decode: Block
    depths: Sequence[int]
    sides: int = 3


class UNet3d(nn.Module):
    """A U-Net of any number of stages, from (B, C, D, H, W) to logits (B, K, D, H, W).

    Sides that the strides don't divide are padded with zeros and cut off again.

    Args:
        spec: channels, outputs, strides of the stages and spacing.
        form: what its stages are made of.
        width: channels of the first stage, doubled from stage to stage.
        dropout: of whole channels, after each convolution.
        checkpointing: stages run again in the backward pass.
    """

    def __init__(self, spec: DataSpec, form: Form, width: int, dropout: float, checkpointing: bool) -> None:
        super().__init__()
        encode, decode, depths, sides = form
        self.strides = spec.strides or USUAL
        self.checkpointing = checkpointing
        channels = [min(width * 2**stage, MOST) for stage in range(len(self.strides))]
        kernels = kernels_of(self.strides, spec.spacing or (1.0, 1.0, 1.0), sides)
        inside = [spec.channels, *channels]
        numbers = [depths[min(stage, len(depths) - 1)] for stage in range(len(channels))]
        self.encoder = nn.ModuleList(
            encode(inside[n], channels[n], kernels[n], self.strides[n], numbers[n], dropout)
            for n in range(len(channels))
        )
        up = range(len(channels) - 2, -1, -1)
        steps: list[Any] = [self.strides[n + 1] for n in up]
        self.ups = nn.ModuleList(
            nn.ConvTranspose3d(channels[n + 1], channels[n], step, step) for n, step in zip(up, steps, strict=True)
        )
        self.decoder = nn.ModuleList(
            decode(2 * channels[n], channels[n], kernels[n], (1, 1, 1), 2, dropout) for n in up
        )
        self.heads = nn.ModuleList(nn.Conv3d(channels[n], spec.n_logits, 1) for n in up)

    @property
    def divisor(self) -> Zyx:
        """Give by what each side of an input is divided in all."""
        z, y, x = (math.prod(steps) for steps in zip(*self.strides, strict=True))
        return z, y, x

    def forward(self, x_BCDHW: Tensor) -> Any:
        """Compute logits; in training a list, finest first."""
        sides = x_BCDHW.shape[2:]
        lacks = [-side % divisor for side, divisor in zip(sides, self.divisor, strict=True)]
        x = nn.functional.pad(x_BCDHW, [n for lack in reversed(lacks) for n in (0, lack)]) if any(lacks) else x_BCDHW
        skips = []
        for stage in self.encoder:
            x = self._run(stage, x)
            skips.append(x)
        outputs: list[Tensor] = []
        for up, stage, head, skip in zip(self.ups, self.decoder, self.heads, reversed(skips[:-1]), strict=True):
            x = self._run(stage, torch.cat([skip, up(x)], 1))
            if self.training or stage is self.decoder[-1]:
                outputs.insert(0, head(x))
        outputs[0] = outputs[0][..., : sides[0], : sides[1], : sides[2]]
        return outputs if self.training else outputs[0]

    def _run(self, stage: nn.Module, x: Tensor) -> Tensor:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            again: Tensor = checkpoint(stage, x, use_reentrant=False)
            return again
        made: Tensor = stage(x)
        return made


def kernels_of(strides: Sequence[Zyx], spacing: Sequence[float], sides: int) -> list[Zyx]:
    """Choose the kernel of each stage: 1 along axes whose voxels are still much longer than the others'.

    As nnU-Net has it, an axis that a convolution reaches along stays so in all deeper stages, and the deepest stage
    reaches along all: voxels also become unlike where an axis is too short to be shrunk further.
    """
    kernels, size, reached = [], list(spacing), [False] * 3
    for number, stride in enumerate(strides, start=1):
        size = [mm * step for mm, step in zip(size, stride, strict=True)]
        near = [mm < THICK * min(size) or number == len(strides) for mm in size]
        reached = [before or now for before, now in zip(reached, near, strict=True)]
        z, y, x = (sides if reach else 1 for reach in reached)
        kernels.append((z, y, x))
    return kernels


def _unet(form: Form) -> Callable[..., nn.Module]:
    @checked("model")
    def build(
        spec: DataSpec,
        weights: str | None = "none",
        width: Count = 16,
        dropout: Part = 0.0,
        checkpointing: bool = False,
    ) -> nn.Module:
        """Build {title}, from (B, spec.channels, D, H, W) to logits (B, spec.n_logits, D, H, W); see `UNet3d`.

        Args:
            spec: the data's shape, strides, spacing and classes.
            weights: ``none`` or a file; see `load_weights`.
            width: channels of the first stage; nnU-Net has 32, which takes four times the time.
            dropout: probability of dropping a whole channel, after each convolution.
            checkpointing: stages run again in the backward pass: less memory, more time, same gradients.

        Raises:
            UsageError, MedtrainError: see `load_weights`.
        """
        network = UNet3d(spec, form, width, dropout, checkpointing)
        load_weights(network, weights, fit=fit_nnunet)
        return network

    return build


unet_3d = member(_unet(Form(Convolutions, Convolutions, (2,))), "unet_3d", "a 3D U-Net")
resunet_3d = member(_unet(Form(Residual, Convolutions, (2, 2, 3))), "resunet_3d", "a 3D U-Net with a residual encoder")
vnet = member(_unet(Form(Residual, Residual, (1, 2, 3), 5)), "vnet", "V-Net")
