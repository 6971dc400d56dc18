"""The last layer: dropout that doesn't rename the weights, so files fit whatever the dropout."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.core.errors import UsageError


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


def tie_outputs(network: nn.Module, n_outputs: int) -> None:
    """Let the outputs of a network's last layer share their weights for good; their biases stay apart.

    The rows of its weights begin alike, and each gets the mean of their gradients, so that steps keep them alike with
    any optimizer that treats numbers one by one: the weights' names and shapes are those of any other network. The
    biases begin in descending order.

    Raises:
        UsageError: the network has no linear layer of that width.
    """
    last: Any = next((m for m in reversed(list(network.modules())) if _is_linear(m, n_outputs)), None)
    if last is None:
        raise UsageError(
            f"loss=coral: {type(network).__name__} has no linear layer with {n_outputs} outputs, to share "
            "weights; take loss=corn or cross_entropy, or another model"
        )
    with torch.no_grad():
        last.weight.copy_(last.weight[:1].expand_as(last.weight).clone())
        last.bias.copy_(torch.linspace(1, -1, n_outputs) if n_outputs > 1 else torch.zeros(1))
    last.weight.register_hook(lambda gradient: gradient.mean(0, keepdim=True).expand_as(gradient))


def _is_linear(module: nn.Module, n_outputs: int) -> bool:
    return isinstance(module, nn.Linear) and module.out_features == n_outputs and module.bias is not None
