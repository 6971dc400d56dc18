"""The first convolution: other numbers of channels, and small images, without losing pretrained weights.

Published weights are for RGB at 224 px. A fresh first convolution for grey images would throw the pretrained stem
away, so its weights are folded instead: an image that is the same in all channels gets the same response as before.
"""

from __future__ import annotations

import logging
from typing import Literal

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.target import DataSpec

log = logging.getLogger(__name__)

SMALL = 64
"""Images below this many pixels a side keep their full resolution in the stem."""

Stem = Literal["auto", "standard", "small"]
VolumeStem = Literal["auto", "standard", "half", "small"]

VOLUME_STEMS = {"standard": (2, True), "half": (2, False), "small": (1, False)}
"""Stride of the first convolution, and whether max pooling by 2 follows."""


def first_conv(model: nn.Module) -> tuple[str, nn.Conv2d | nn.Conv3d] | None:
    """Find name and module of the first 2D or 3D convolution in order of definition; None where there is none."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            return name, module
    return None


def fold_channels(weight: Tensor, channels: int) -> Tensor:
    """Fold the weights of a first convolution to another number of input channels.

    New channel j takes the old channel j (counted round), and the sum over channels stays: 3 to 1 is the sum over
    RGB, so that conv(grey) equals the RGB network's conv on grey x 3; 1 to 3 is a third each.

    Args:
        weight: (out, in, *kernel).
        channels: the new number of input channels.

    Returns:
        (out, channels, *kernel).
    """
    old = weight.shape[1]
    rows = torch.arange(max(old, channels), device=weight.device)
    times = [len(range(j, len(rows), old)) for j in range(old)]
    share = weight.new_tensor(times).reshape(1, -1, *[1] * (weight.ndim - 2))
    folded = weight.new_zeros(weight.shape[0], channels, *weight.shape[2:])
    return folded.index_add_(1, rows % channels, (weight / share)[:, rows % old])


def set_channels(model: nn.Module, channels: int) -> bool:
    """Make the first convolution take `channels` input channels, in place; True if it took another number.

    Raises:
        UsageError: the first convolution is grouped, so its channels cannot be folded.
    """
    first = first_conv(model)
    if first is None or first[1].in_channels == channels:
        return False
    name, conv = first
    if conv.groups != 1:
        raise UsageError(
            f"{type(model).__name__}: the first convolution {name!r} takes {conv.in_channels} channels in"
            f" {conv.groups} groups and cannot be adapted to the data's {channels}; build it with that number"
        )
    log.info("first convolution %s: %d -> %d input channels", name, conv.in_channels, channels)
    with torch.no_grad():
        folded = fold_channels(conv.weight, channels)
    conv.weight = nn.Parameter(folded, requires_grad=conv.weight.requires_grad)
    conv.in_channels = channels
    return True


def is_small(stem: Stem, spec: DataSpec) -> bool:
    """Tell whether a network for `spec` keeps full resolution in its stem; ``auto`` does so below 64 px."""
    return stem == "small" or (stem == "auto" and bool(spec.size) and min(spec.size) < SMALL)


def volume_stem(stem: VolumeStem, spec: DataSpec) -> tuple[tuple[int, int, int], bool]:
    """Choose the stride of a 3D network's first convolution, and whether a pooling follows it.

    Args:
        stem: ``standard`` divides the resolution by 4, ``half`` by 2, ``small`` keeps it, at eight times the cost each;
            ``auto`` is the first of these after which the last feature map has two cells a side or more.
        spec: the data's size; the network is taken to divide by 8 after its stem, odd sizes rounded up.
    """
    fine = (name for name, (stride, pooled) in VOLUME_STEMS.items() if min(spec.size) > 8 * stride * (1 + pooled))
    stride, pooled = VOLUME_STEMS[next(fine, "small") if stem == "auto" else stem]
    return (stride, stride, stride), pooled
