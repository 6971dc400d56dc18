"""The last layer: dropout that doesn't rename the weights, so files fit whatever the dropout."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Head(nn.Linear):
    """Linear layer to the logits, with dropout on its input.

    Args:
        in_features: width of the pooled features.
        n_logits: width of the output.
        dropout: probability of zeroing a feature in training, in [0, 1).
    """

    def __init__(self, in_features: int, n_logits: int, dropout: float = 0.0) -> None:
        super().__init__(in_features, n_logits)
        self.dropout = dropout

    def forward(self, input: Tensor) -> Tensor:
        """Compute logits: (B, in_features) -> (B, n_logits)."""
        return super().forward(F.dropout(input, self.dropout, self.training))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dropout={self.dropout}"
