"""2D networks made 3D: each convolution, norm and pooling by its counterpart, so an architecture is written once.

What torchvision defines for images (blocks, strides, expansion, names of weights) then holds for volumes too. Weights
are fresh; kernels are cubes, and paddings follow them. Poolings round odd sizes up, so that no voxel is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import torch
from torch import nn

from medtrain.core.errors import UsageError

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm3d,
    "instance": lambda channels: nn.InstanceNorm3d(channels, affine=True),
    "group": lambda channels: nn.GroupNorm(gcd(32, channels), channels),
}


def inflated(
    build: Callable[..., nn.Module], channels: int, *, norm: str = "batch", width: float = 1.0, **arguments: object
) -> nn.Module:
    """A 2D network as a 3D one, from (B, channels, D, H, W).

    Args:
        build: called with `arguments`; its linear layers stay as they are, without memory, and are to be replaced.
        norm: ``batch``; ``instance`` (each sample and channel on its own) or ``group`` (32 groups of channels, Wu and
            He, Group normalization, ECCV 2018), which don't depend on the batch: for batches of few samples.
        width: the number of channels of all layers as a multiple.

    Raises:
        UsageError: there is no such norm, or a layer would have no whole number of channels.
    """
    if norm not in NORMS:
        raise UsageError(f"model.norm={norm}: it can be {', '.join(NORMS)}")
    with torch.device("meta"):  # only its shape is of use
        network = build(**arguments)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                inputs = channels if child is first else _times(child.in_channels, width)
                setattr(parent, name, _convolution(child, inputs, _times(child.out_channels, width)))
            elif isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, NORMS[norm](_times(child.num_features, width)))
            elif isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.MaxPool3d(child.kernel_size, child.stride, child.padding))
            elif isinstance(child, nn.AvgPool2d):
                setattr(parent, name, nn.AvgPool3d(child.kernel_size, child.stride, child.padding, ceil_mode=True))
            elif isinstance(child, nn.AdaptiveAvgPool2d):
                setattr(parent, name, nn.AdaptiveAvgPool3d(1))
    return network


def _convolution(flat: nn.Conv2d, inputs: int, outputs: int) -> nn.Conv3d:
    kernel, stride, padding = flat.kernel_size[0], flat.stride[0], flat.padding[0]
    conv = nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=flat.bias is not None)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")  # He et al., ICCV 2015
    return conv


def _times(channels: int, width: float) -> int:
    scaled = channels * width
    if scaled != int(scaled) or scaled < 1:
        raise UsageError(f"model.width: a layer would have {scaled:g} channels; take a multiple of 8")
    return int(scaled)
