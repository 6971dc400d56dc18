"""ResNets on torchvision's, for any number of channels, with dropout before the head and a stem for small images.

He et al., Deep residual learning for image recognition, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torchvision import models

from medtrain.core.ranges import Part, checked
from medtrain.model.attention import AttentionPool
from medtrain.model.family import member
from medtrain.model.head import Head
from medtrain.model.stem import Stem, is_small, set_channels
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec


def _resnet(depth: int) -> Callable[..., nn.Module]:
    published = getattr(models, f"resnet{depth}")
    names = getattr(models, f"ResNet{depth}_Weights")

    @checked("model")
    def build(
        spec: DataSpec, weights: str | None = "none", dropout: Part = 0.0, stem: Stem = "auto", attention: bool = False
    ) -> nn.Module:
        """Build {title}, from (B, spec.channels, H, W) to logits (B, spec.n_logits).

        Args:
            spec: the data's shape and classes.
            weights: ``none``, a torchvision name (``IMAGENET1K_V1``, ``DEFAULT``) or a file; see `load_weights`.
            dropout: probability of dropping a pooled feature in training.
            stem: ``standard`` divides the resolution by 4 before the first block; ``small`` keeps it, with the same
                weights (stride 1, no max pooling); ``auto`` is small below 64 px.
            attention: pool by an attention map instead of the average; see `AttentionPool`.

        Raises:
            UsageError, MedtrainError: see `load_weights`.
        """
        network = published(weights=None, num_classes=spec.n_logits)
        network.fc = Head(network.fc.in_features, spec.n_logits, dropout)
        set_channels(network, spec.channels)
        if is_small(stem, spec):
            network.conv1.stride = (1, 1)
            network.maxpool = nn.Identity()
        if attention:
            network.avgpool = AttentionPool(network.fc.in_features)
        load_weights(network, weights, names)
        return network

    return member(build, f"resnet{depth}", f"ResNet-{depth}")


resnet18 = _resnet(18)
resnet34 = _resnet(34)
resnet50 = _resnet(50)
resnet101 = _resnet(101)
