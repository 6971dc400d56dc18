"""EfficientNets on torchvision's, for any number of channels, with a stem for small images.

Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks, ICML 2019.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torchvision import models

from medtrain.core.ranges import Part, checked
from medtrain.model.attention import AttentionPool
from medtrain.model.head import Head
from medtrain.model.stem import Stem, is_small, set_channels
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec


@checked("model")
def efficientnet_b0(
    spec: DataSpec, weights: str | None = "none", dropout: Part = 0.0, stem: Stem = "auto", attention: bool = False
) -> nn.Module:
    """Build EfficientNet-B0, from (B, spec.channels, H, W) to logits (B, spec.n_logits).

    Args:
        spec: the data's shape and classes.
        weights: ``none``, a torchvision name (``IMAGENET1K_V1``, ``DEFAULT``) or a file; see `load_weights`.
        dropout: probability of dropping a pooled feature in training (published: 0.2; B3 0.3).
        stem: ``standard`` divides the resolution by 4 before the third stage; ``small`` keeps it, with the same
            weights (stride 1); ``auto`` is small below 64 px.
        attention: pool by an attention map instead of the average; see `AttentionPool`.

    Raises:
        UsageError, MedtrainError: see `load_weights`.
    """
    return _efficientnet(
        models.efficientnet_b0, models.EfficientNet_B0_Weights, spec, weights, dropout, stem, attention
    )


@checked("model")
def efficientnet_b3(
    spec: DataSpec, weights: str | None = "none", dropout: Part = 0.0, stem: Stem = "auto", attention: bool = False
) -> nn.Module:
    """Build EfficientNet-B3; arguments as for `efficientnet_b0`."""
    return _efficientnet(
        models.efficientnet_b3, models.EfficientNet_B3_Weights, spec, weights, dropout, stem, attention
    )


def _efficientnet(
    build: Callable[..., models.EfficientNet],
    names: type[models.WeightsEnum],
    spec: DataSpec,
    weights: str | None,
    dropout: float,
    stem: Stem,
    attention: bool,
) -> nn.Module:
    network = build(weights=None, num_classes=spec.n_logits)
    width = network.classifier[1].in_features
    network.classifier = nn.Sequential(nn.Identity(), Head(width, spec.n_logits, dropout))  # keeps the weights' names
    set_channels(network, spec.channels)
    if is_small(stem, spec):
        for module in [*network.features[0].modules(), *network.features[2].modules()]:
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
    if attention:
        network.avgpool = AttentionPool(width)
    load_weights(network, weights, names)
    return network
