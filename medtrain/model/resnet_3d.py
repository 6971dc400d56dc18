"""3D ResNets: torchvision's, made 3D, for patches of CT and MRI.

He et al., Deep residual learning for image recognition, CVPR 2016; in 3D as Chen et al., Med3D: transfer learning for
3D medical image analysis, 2019, whose published weights (`model.weights=FILE`) fit by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torchvision import models
from torchvision.models.resnet import BasicBlock, Bottleneck

from medtrain.core.ranges import Count, Part, checked
from medtrain.model.attention import AttentionPool
from medtrain.model.checkpointing import Recomputed
from medtrain.model.family import member
from medtrain.model.head import Head
from medtrain.model.inflate import Norm, inflated
from medtrain.model.stem import VolumeStem, volume_stem
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec

WIDTH = 64
"""Channels of the first layer, as published."""


class RecomputedBasicBlock(Recomputed, BasicBlock):
    """torchvision's basic block, checkpointed."""


class RecomputedBottleneck(Recomputed, Bottleneck):
    """torchvision's bottleneck, checkpointed."""


def _resnet(depth: int, block: type[BasicBlock | Bottleneck], layers: tuple[int, ...]) -> Callable[..., nn.Module]:
    recomputed = RecomputedBasicBlock if block is BasicBlock else RecomputedBottleneck

    @checked("model")
    def build(
        spec: DataSpec,
        weights: str | None = "none",
        dropout: Part = 0.0,
        norm: Norm = "batch",
        stem: VolumeStem = "auto",
        width: Count = WIDTH,
        checkpointing: bool = False,
        attention: bool = False,
    ) -> nn.Module:
        """Build {title}, from (B, spec.channels, D, H, W) to logits (B, spec.n_logits).

        Args:
            spec: the data's shape and classes.
            weights: ``none`` or a file; see `load_weights`.
            dropout: probability of dropping a pooled feature in training.
            norm: ``batch``, ``instance`` or ``group``; see `inflated`.
            stem: ``standard`` divides the resolution by 4 before the first block, ``half`` by 2, ``small`` keeps it,
                all with the same weights; ``auto`` is the first of these that leaves two cells a side at the end.
            width: channels of the first layer, a multiple of 8; all others follow.
            checkpointing: each block runs again in the backward pass: less memory, more time, the same gradients and
                running statistics.
            attention: pool by an attention map instead of the average; see `AttentionPool`.

        Raises:
            UsageError, MedtrainError: no such norm, stem or width; see `load_weights`.
        """
        blocks = {"block": recomputed if checkpointing else block, "layers": layers}
        network: Any = inflated(models.ResNet, spec.channels, norm=norm, width=width / WIDTH, **blocks)
        features = network.fc.in_features * width // WIDTH
        network.fc = Head(features, spec.n_logits, dropout)
        network.conv1.stride, pooled = volume_stem(stem, spec)
        if not pooled:
            network.maxpool = nn.Identity()
        if attention:
            network.avgpool = AttentionPool(features, dims=3)
        load_weights(network, weights)
        return network

    return member(build, f"resnet{depth}_3d", f"ResNet-{depth}")


resnet10_3d = _resnet(10, BasicBlock, (1, 1, 1, 1))
resnet18_3d = _resnet(18, BasicBlock, (2, 2, 2, 2))
resnet34_3d = _resnet(34, BasicBlock, (3, 4, 6, 3))
resnet50_3d = _resnet(50, Bottleneck, (3, 4, 6, 3))
