"""Tiles to the slide's label in one network: encoder and attention are trained together, without features in between.

Campanella et al., Nature Medicine 2019, train the encoder on the top tiles alone; here all tiles of a bag send
gradients. The encoder runs in chunks that forget their activations and are computed again for the gradient (Chen et
al., Training deep nets with sublinear memory cost, 2016), so memory is that of one chunk, however large the bag.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medtrain.core.errors import UsageError
from medtrain.core.ranges import Count, Part, checked
from medtrain.core.words import suggest
from medtrain.model.bag_network import Attention, BagNetwork
from medtrain.model.convnext import convnext_tiny
from medtrain.model.efficientnet import efficientnet_b0, efficientnet_b3
from medtrain.model.head import Head
from medtrain.model.resnet import resnet18, resnet34, resnet50
from medtrain.target import DataSpec
from medtrain.target.binary import Binary

ENCODERS = {
    builder.__name__: builder
    for builder in (resnet18, resnet34, resnet50, efficientnet_b0, efficientnet_b3, convnext_tiny)
}
GROUPS = 8


class EndToEnd(BagNetwork):
    """`BagNetwork` on the features of an encoder that learns with it.

    Args:
        encoder: (n, C, H, W) -> (n, width), each row of its own, whatever the other rows.
        width: of its features.
        chunk: tiles that are encoded at once.
    """

    def __init__(self, encoder: nn.Module, spec: DataSpec, weigh: nn.Module, *, width: int, chunk: int, **more) -> None:  # type: ignore[no-untyped-def]
        super().__init__(spec, weigh, width=width, **more)
        self.encoder, self.chunk = encoder, chunk

    def features(self, x_NCHW: Tensor) -> Tensor:
        """Encode tiles, uint8 or scaled to 0..1, to (N, width); each chunk is normalised and encoded on its own."""
        learns = self.training and torch.is_grad_enabled()
        parts = [
            checkpoint(self._encoded, part, use_reentrant=False) if learns else self._encoded(part)
            for part in x_NCHW.split(self.chunk)
        ]
        return torch.cat(parts)

    def _encoded(self, x_NCHW: Tensor) -> Tensor:
        features: Tensor = self.encoder(super().features(x_NCHW))
        return features


@checked("model")
def end_to_end_mil(
    spec: DataSpec,
    encoder: str = "resnet18",
    weights: str | None = "none",
    chunk: Count = 32,
    attention: Count = 64,
    dropout: Part = 0.0,
    instance_dropout: Part = 0.0,
    gated: bool = True,
) -> EndToEnd:
    """Build an encoder of tiles with gated attention on its features.

    Args:
        encoder: one of `ENCODERS`.
        weights: of the encoder: ``none``, a torchvision name or a file.
        chunk: tiles that are encoded at once; decides on memory alone.
        attention, dropout, instance_dropout, gated: as for `attention_mil`.

    Raises:
        UsageError: no such encoder, or the data are no tiles.
    """
    if not spec.dims:
        raise UsageError("model=end_to_end_mil takes tiles, not features: data.tiles=true")
    if encoder not in ENCODERS:
        raise UsageError(
            f"model.encoder={encoder} is none of the networks for tiles; {suggest(encoder, list(ENCODERS))}"
        )
    network = ENCODERS[encoder](replace(spec, target=Binary(("0", "1"))), weights)
    width = _without_head(network)
    _steady(network, pretrained=(weights or "none") != "none")
    shares = {"dropout": dropout, "instance_dropout": instance_dropout}
    return EndToEnd(network, spec, Attention(width, attention, gated), width=width, chunk=chunk, hidden=[], **shares)


def _without_head(network: nn.Module) -> int:
    """Take the head off, in place, and return the width of what it was given."""
    name, head = next((name, m) for name, m in network.named_modules() if isinstance(m, Head))
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    return head.in_features


def _steady(network: nn.Module, pretrained: bool) -> None:
    """Make each tile's features its own, in place: a batch norm would see a chunk, which is no sample of anything.

    Pretrained ones keep the statistics that they have; fresh ones become group norms (Wu & He, ECCV 2018).
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent, _, last = name.rpartition(".")
            groups = GROUPS if module.num_features % GROUPS == 0 else 1
            fixed = _FixedNorm(module) if pretrained else nn.GroupNorm(groups, module.num_features)
            setattr(network.get_submodule(parent), last, fixed)


class _FixedNorm(nn.Module):
    """A batch norm with the statistics that it came with, in training too."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def train(self, mode: bool = True) -> _FixedNorm:
        return super().train(False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        normed: Tensor = self.norm(x_BCHW)
        return normed
