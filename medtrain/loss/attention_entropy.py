"""The spread of attention as a term of the loss: attention that falls on one tile in 10,000 explains little."""

from __future__ import annotations

import torch
from torch import Tensor

from medtrain.core.segments import segment_sum


def attention_entropy(weights_N: Tensor, offsets: Tensor) -> Tensor:
    """Compute (B,): the entropy of each bag's weights over log N: 0 for all on one instance, 1 for even weights.

    Divided by log N, bags of 500 and 20,000 instances count alike. A bag of one instance has entropy 0.

    Args:
        weights_N: summing to 1 within each bag.
        offsets: (B+1,).
    """
    entropy_B = segment_sum(torch.special.entr(weights_N), offsets)
    return entropy_B / offsets.diff().clamp(min=2).to(entropy_B.dtype).log()
