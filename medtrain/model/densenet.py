"""DenseNets on torchvision's, for any number of channels, with checkpointing that trains exactly alike.

Huang et al., Densely connected convolutional networks, CVPR 2017; checkpointing after Pleiss et al., Memory-efficient
implementation of DenseNets, 2017. torchvision's `memory_efficient` runs each first batch norm twice a step, which
also updates its running statistics twice; here the second run leaves them alone.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torchvision import models
from torchvision.models.densenet import _DenseLayer

from medtrain.core.ranges import Part, checked
from medtrain.model.attention import AttentionPool
from medtrain.model.checkpointing import recomputed
from medtrain.model.family import member
from medtrain.model.head import Head
from medtrain.model.stem import Stem, is_small, set_channels
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec


def _densenet(depth: int) -> Callable[..., nn.Module]:
    published = getattr(models, f"densenet{depth}")
    names = getattr(models, f"DenseNet{depth}_Weights")

    @checked("model")
    def build(
        spec: DataSpec,
        weights: str | None = "none",
        dropout: Part = 0.0,
        checkpointing: bool = False,
        stem: Stem = "auto",
        attention: bool = False,
    ) -> nn.Module:
        """Build {title}, from (B, spec.channels, H, W) to logits (B, spec.n_logits).

        Args:
            spec: the data's shape and classes.
            weights: ``none``, a torchvision name (``IMAGENET1K_V1``, ``DEFAULT``) or a file; see `load_weights`.
            dropout: probability of dropping a pooled feature in training.
            checkpointing: recompute the concatenations in the backward pass: less memory, more time, the
                same gradients and running statistics.
            stem: ``standard`` divides the resolution by 4 before the first block; ``small`` keeps it, with the same
                weights (stride 1, no max pooling); ``auto`` is small below 64 px.
            attention: pool by an attention map instead of the average; see `AttentionPool`.

        Raises:
            UsageError, MedtrainError: see `load_weights`.
        """
        network = published(weights=None, num_classes=spec.n_logits, memory_efficient=checkpointing)
        network.classifier = Head(network.classifier.in_features, spec.n_logits, dropout)
        set_channels(network, spec.channels)
        if is_small(stem, spec):
            network.features.conv0.stride = (1, 1)
            network.features.pool0 = nn.Identity()
        if attention:  # torchvision's own ReLU and average behind `features` change nothing then
            network.features.relu5 = nn.ReLU()
            network.features.pool5 = AttentionPool(network.classifier.in_features)
        if checkpointing:
            checkpoint_layers(network)
        load_weights(network, weights, names)
        return network

    return member(build, f"densenet{depth}", f"DenseNet-{depth}")


densenet121 = _densenet(121)
densenet169 = _densenet(169)
densenet201 = _densenet(201)


def checkpoint_layers(network: nn.Module) -> None:
    """Make the dense layers of a network built with ``memory_efficient`` checkpoint without side effects."""
    for layer in network.modules():
        if isinstance(layer, _DenseLayer):
            layer.__class__ = _CheckpointedLayer


class _CheckpointedLayer(_DenseLayer):
    """A dense layer whose concatenation, norm1 and conv1 run again in the backward pass, without side effects."""

    def call_checkpoint_bottleneck(self, input: list[Tensor]) -> Tensor:
        return recomputed(self, lambda *features: self.bn_function(list(features)), *input)
