"""3D DenseNet: torchvision's, made 3D, for patches of CT and MRI.

Huang et al., Densely connected convolutional networks, CVPR 2017; see `medtrain.model.densenet` for checkpointing.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision import models

from medtrain.core.ranges import Part, checked
from medtrain.model.attention import AttentionPool
from medtrain.model.densenet import checkpoint_layers
from medtrain.model.head import Head
from medtrain.model.inflate import Norm, inflated
from medtrain.model.stem import VolumeStem, volume_stem
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec


@checked("model")
def densenet121_3d(
    spec: DataSpec,
    weights: str | None = "none",
    dropout: Part = 0.0,
    norm: Norm = "batch",
    stem: VolumeStem = "auto",
    checkpointing: bool = False,
    attention: bool = False,
) -> nn.Module:
    """Build DenseNet-121, from (B, spec.channels, D, H, W) to logits (B, spec.n_logits).

    Args:
        spec: the data's shape and classes.
        weights: ``none`` or a file; see `load_weights`.
        dropout: probability of dropping a pooled feature in training.
        norm, stem: as of `resnet10_3d`.
        checkpointing: recompute the concatenations in the backward pass: less memory, more time, the same gradients
            and running statistics.
        attention: pool by an attention map instead of the average; see `AttentionPool`.

    Raises:
        UsageError, MedtrainError: no such norm or stem; see `load_weights`.
    """
    network: Any = inflated(models.densenet121, spec.channels, norm=norm, memory_efficient=checkpointing)
    width = network.classifier.in_features
    network.classifier = Head(width, spec.n_logits, dropout)
    network.features.conv0.stride, pooled = volume_stem(stem, spec)
    if not pooled:
        network.features.pool0 = nn.Identity()
    network.features.relu5 = nn.ReLU()
    network.features.pool5 = AttentionPool(width, dims=3) if attention else nn.AdaptiveAvgPool3d(1)
    network.features.flat5 = nn.Flatten(3)  # torchvision's own ReLU and average behind `features` change nothing then
    if checkpointing:
        checkpoint_layers(network)
    load_weights(network, weights)
    return network
