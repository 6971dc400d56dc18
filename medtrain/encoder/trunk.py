"""From a network's tokens to one vector a picture: pooling, CoCa's attention, CLIP's projection; CTransPath's stem."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

Pooling = Literal["class", "mean", "both", "network"]


class Pooled(nn.Module):
    """A timm network and the pooling of its tokens, after the last norm.

    Args:
        trunk: a timm network without classifier.
        pooling: ``class`` token, ``mean`` of the patches, ``both`` side by side, or as the ``network`` pools itself;
            registers are never pooled.
    """

    def __init__(self, trunk: Any, pooling: Pooling) -> None:
        super().__init__()
        self.trunk, self.pooling = trunk, pooling

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.pooling == "network":
            pooled: Tensor = self.trunk(x_BCHW)
            return pooled
        tokens_BND = self.trunk.forward_features(x_BCHW)
        of_class, of_patches = tokens_BND[:, 0], tokens_BND[:, self.trunk.num_prefix_tokens :].mean(1)
        return {"class": of_class, "mean": of_patches}.get(self.pooling, torch.cat([of_class, of_patches], 1))

    def extra_repr(self) -> str:
        return self.pooling


class AttentionPool(nn.Module):
    """Pool tokens by one learned query (Yu et al. 2022, CoCa: Contrastive Captioners, 3.2).

    Args:
        width: of the tokens; dim: of the query and the result.
    """

    def __init__(self, width: int, dim: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, dim))
        self.attn = nn.MultiheadAttention(dim, heads, kdim=width, vdim=width, batch_first=True)
        self.ln_q, self.ln_k = nn.LayerNorm(dim), nn.LayerNorm(width)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        keys = self.ln_k(tokens_BND)
        queries = self.ln_q(self.query).expand(len(keys), -1, -1)
        pooled: Tensor = self.attn(queries, keys, keys, need_weights=False)[0][:, 0]
        return pooled


class CoCaImage(nn.Module):
    """The image part of a CoCa: a ViT, attention over its tokens, a norm; before the projection to the texts' space."""

    def __init__(self, trunk: Any, dim: int = 512, heads: int = 8) -> None:
        super().__init__()
        self.trunk = trunk
        self.attn_pool_contrast = AttentionPool(trunk.num_features, dim, heads)
        self.ln_contrast = nn.LayerNorm(dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        pooled: Tensor = self.ln_contrast(self.attn_pool_contrast(self.trunk.forward_features(x_BCHW)))
        return pooled


class ClipImage(nn.Module):
    """The image part of a CLIP around a timm network: its class token, projected to the texts' space."""

    def __init__(self, trunk: Any, dim: int = 512) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Sequential()
        self.head.add_module("proj", nn.Linear(trunk.num_features, dim, bias=False))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        projected: Tensor = self.head(self.trunk(x_BCHW))
        return projected


class ConvStem(nn.Module):
    """Pictures to Swin's patches of 4 x 4 by convolutions (Wang et al. 2022, Transformer-based unsupervised
    contrastive learning for histopathological image classification): two that halve the sides, one that widens.
    """

    def __init__(
        self, img_size: int, patch_size: int = 4, in_chans: int = 3, embed_dim: int = 96, **options: Any
    ) -> None:
        super().__init__()
        self.img_size, self.patch_size = (img_size, img_size), (patch_size, patch_size)
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        layers: list[nn.Module] = []
        for narrow, wide in ((in_chans, embed_dim // 8), (embed_dim // 8, embed_dim // 4)):
            layers += [nn.Conv2d(narrow, wide, 3, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
        self.proj = nn.Sequential(*layers, nn.Conv2d(embed_dim // 4, embed_dim, 1))
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Give tokens as timm's Swin takes them, (B, H / 4, W / 4, D)."""
        normed: Tensor = self.norm(self.proj(x_BCHW).permute(0, 2, 3, 1))
        return normed
