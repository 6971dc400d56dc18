"""2D networks made 3D: each convolution, norm and pooling by its counterpart, so an architecture is written once.

What torchvision defines for images (blocks, strides, expansion, names of weights) then holds for volumes too. Weights
are fresh; kernels are cubes, and paddings follow them. Sizes are rounded up where they are halved, so that no voxel
is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any, Literal

import torch
from torch import nn

from medtrain.core.errors import UsageError

Norm = Literal["batch", "instance", "group"]
NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm3d,
    "instance": lambda channels: nn.InstanceNorm3d(channels, affine=True),
    "group": lambda channels: nn.GroupNorm(gcd(32, channels), channels),
}


def inflated(
    build: Callable[..., nn.Module], channels: int, *, norm: Norm = "batch", width: float = 1.0, **arguments: object
) -> nn.Module:
    """Make a 2D network a 3D one, from (B, channels, D, H, W).

    Args:
        build: called with `arguments`; its linear layers stay as they are, without memory, and are to be replaced.
        norm: ``batch``; ``instance`` (each sample and channel on its own) or ``group`` (32 groups of channels, Wu and
            He, Group normalization, ECCV 2018), which don't depend on the batch: for batches of few samples.
        width: the number of channels of all layers as a multiple.

    Raises:
        UsageError: a layer would have no whole number of channels.
    """
    with torch.device("meta"):  # only its shape is of use
        network = build(**arguments)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            inputs = channels if child is first else None
            setattr(parent, name, _in_3d(child, norm, width, inputs))
    return network


def _in_3d(flat: Any, norm: Norm, width: float, inputs: int | None) -> nn.Module:
    """Make the counterpart of a 2D module, with `inputs` channels if given; any other module stays as it is."""
    if isinstance(flat, nn.Conv2d):
        inputs = inputs or _times(flat.in_channels, width)
        kernel, stride, padding = flat.kernel_size[0], flat.stride[0], int(flat.padding[0])
        conv = nn.Conv3d(inputs, _times(flat.out_channels, width), kernel, stride, padding, bias=flat.bias is not None)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")  # He et al., ICCV 2015
        return conv
    if isinstance(flat, nn.BatchNorm2d):
        return NORMS[norm](_times(flat.num_features, width))
    if isinstance(flat, nn.MaxPool2d):
        return nn.MaxPool3d(flat.kernel_size, flat.stride, flat.padding)
    if isinstance(flat, nn.AvgPool2d):  # of DenseNet, without padding
        return nn.AvgPool3d(flat.kernel_size, flat.stride, flat.padding, ceil_mode=True)  # type: ignore[arg-type]
    return nn.AdaptiveAvgPool3d(1) if isinstance(flat, nn.AdaptiveAvgPool2d) else flat


def _times(channels: int, width: float) -> int:
    scaled = channels * width
    if scaled != int(scaled) or scaled < 1:
        raise UsageError(f"model.width: a layer would have {scaled:g} channels; take a multiple of 8")
    return int(scaled)
