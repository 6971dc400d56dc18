"""Attention pooling: the network learns where to look, and the map of it can be shown.

The attention of Ilse et al., Attention-based deep multiple instance learning, ICML 2018, equation 8, with the
positions of the last feature map as instances. The map stands in front of the logits, as in Fukui et al., Attention
branch network, CVPR 2019, so what it leaves out the prediction cannot use. What comes out are logits as ever.
"""

from __future__ import annotations

from torch import Tensor, nn

from medtrain.core.errors import UsageError

HIDDEN = 128
"""Width of the branch, as Ilse et al. have it."""


class AttentionMap(nn.Module):
    """Weights of the positions of a feature map, summing to 1; all equal until something is learned.

    Args:
        channels: of the feature map.
        dims: its spatial dimensions, 2 or 3.
    """

    def __init__(self, channels: int, dims: int = 2) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.hidden = conv(channels, HIDDEN, 1)
        self.score = conv(HIDDEN, 1, 1, bias=False)  # the softmax takes no notice of a bias
        nn.init.zeros_(self.score.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh positions: (B, C, H, W) -> (B, 1, H, W), or (B, C, D, H, W) -> (B, 1, D, H, W)."""
        score: Tensor = self.score(self.hidden(x).tanh())
        return score.flatten(2).softmax(2).unflatten(2, score.shape[2:])


class AttentionPool(nn.Module):
    """Mean of the features weighted by `AttentionMap`; a fresh one is the global average.

    Attributes:
        of_head: it is new where a backbone comes pretrained, so it trains with the head (`core.stages`).
    """

    of_head = True

    def __init__(self, channels: int, dims: int = 2) -> None:
        super().__init__()
        self.map, self.dims = AttentionMap(channels, dims), dims

    def forward(self, x: Tensor) -> Tensor:
        """Pool positions: (B, C, H, W) -> (B, C, 1, 1), or (B, C, D, H, W) -> (B, C, 1, 1, 1)."""
        return (self.map(x) * x).sum(tuple(range(2, 2 + self.dims)), keepdim=True)


def has_attention(network: nn.Module) -> bool:
    """Tell whether attention pools the network's features (``model.attention=true``)."""
    return any(isinstance(module, AttentionPool) for module in network.modules())


def attention_map(network: nn.Module, x: Tensor) -> Tensor:
    """Compute the attention map of each input, (B, h, w) or (B, d, h, w), each summing to 1.

    The resolution is that of the last features.

    Raises:
        UsageError: the network has no attention.
    """
    pool = next((module for module in network.modules() if isinstance(module, AttentionPool)), None)
    if pool is None:
        raise UsageError(f"{type(network).__name__} has no attention map: it was built without model.attention=true")
    seen: list[Tensor] = []
    handle = pool.map.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        network(x)
    finally:
        handle.remove()
    return seen[0][:, 0]
