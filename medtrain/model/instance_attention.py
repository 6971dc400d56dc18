"""Attention over the patches of a case: each patch also gets a score that decides its weight.

The gated attention of Ilse et al., Attention-based deep multiple instance learning, ICML 2018, equation 9. A case's
features are the mean of its patches' by the softmax of their scores; as the head is linear, its logits are that mean of
the patches' logits. So patches can be looked at in any batches, and pooled later (`core.pool.attend_cases`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.model.attention import HIDDEN
from medtrain.model.head import Head


class ScoringHead(Head):
    """A head that adds a column after the logits: the patch's score, before the softmax. All alike at first."""

    def __init__(self, head: Head) -> None:
        super().__init__(head.in_features, head.out_features, head.dropout)
        self.weight, self.bias = head.weight, head.bias
        self.hidden = nn.Linear(head.in_features, HIDDEN)
        self.gate = nn.Linear(head.in_features, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1, bias=False)  # the softmax takes no notice of a bias
        nn.init.zeros_(self.score.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Compute logits and the score: (B, in_features) -> (B, n_logits + 1)."""
        score_B1 = self.score(self.hidden(input).tanh() * self.gate(input).sigmoid())
        return torch.cat([super().forward(input), score_B1], 1)


def score_instances(network: nn.Module) -> nn.Module:
    """Put a `ScoringHead` in place of the network's head; returns the network.

    Raises:
        UsageError: it has no `Head`: it is none of medtrain's own.
    """
    name = next((name for name, module in network.named_modules() if isinstance(module, Head)), None)
    if name is None:
        raise UsageError(
            f"task.pool=attention: {type(network).__name__} has no head to add scores to; take one of medtrain's own"
            " networks, or task.pool=mean, max or noisy_or"
        )
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, ScoringHead(network.get_submodule(name)))  # type: ignore[arg-type]
    return network


def class_logits(network: nn.Module, x: Tensor) -> Tensor:
    """Drop the scores that `score_instances` adds from the network's logits."""
    outputs: Tensor = network(x)
    return outputs[..., :-1] if any(isinstance(m, ScoringHead) for m in network.modules()) else outputs
