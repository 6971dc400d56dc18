"""ConvNeXt on torchvision's, for any number of channels, with a stem for small images.

Liu et al., A ConvNet for the 2020s, CVPR 2022.
"""

from __future__ import annotations

from torch import nn
from torchvision import models

from medtrain.core.ranges import Part, checked
from medtrain.model.attention import AttentionPool
from medtrain.model.head import Head
from medtrain.model.stem import Stem, is_small, set_channels
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec


@checked("model")
def convnext_tiny(
    spec: DataSpec, weights: str | None = "none", dropout: Part = 0.0, stem: Stem = "auto", attention: bool = False
) -> nn.Module:
    """Build ConvNeXt-Tiny, from (B, spec.channels, H, W) to logits (B, spec.n_logits).

    Args:
        spec: the data's shape and classes.
        weights: ``none``, a torchvision name (``IMAGENET1K_V1``, ``DEFAULT``) or a file; see `load_weights`.
        dropout: probability of dropping a pooled feature in training.
        stem: ``standard`` cuts the image into patches of 4 x 4 pixels; ``small`` takes such a patch around every
            pixel, with the same weights; ``auto`` is small below 64 px.
        attention: pool by an attention map instead of the average; see `AttentionPool`.

    Raises:
        UsageError, MedtrainError: see `load_weights`.
    """
    network = models.convnext_tiny(weights=None, num_classes=spec.n_logits)
    width = network.classifier[2].in_features
    network.classifier[2] = Head(width, spec.n_logits, dropout)
    set_channels(network, spec.channels)
    if is_small(stem, spec):
        patches = network.features[0][0]
        patches.stride, patches.padding = (1, 1), "same"
    if attention:
        network.avgpool = AttentionPool(width)
    load_weights(network, weights, models.ConvNeXt_Tiny_Weights)
    return network
