"""Segment operations: many instances of few cases, without padding.

Instances of a case (patches of a volume, tiles of a slide, or the one image itself) carry their case's number;
pooling turns instance logits into one prediction a case, whatever the order or the batch mates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medtrain.core.segments import segment_offsets, segment_softmax, segment_sum

POOLS = ("mean", "max", "noisy_or")


def pool_cases(probs_NC: Tensor, cases_N: Tensor, how: str = "mean") -> tuple[Tensor, Tensor]:
    """Pool probabilities of instances into one row a case, and return the cases in ascending order.

    Args:
        probs_NC: instance probabilities.
        cases_N: the case number of each instance.
        how: ``mean``, ``max``, or ``noisy_or`` (1 - prod(1 - p), for findings that one instance proves).

    Returns:
        (probs_KC, cases_K) for the K distinct cases.
    """
    cases_K, inverse = torch.unique(cases_N, return_inverse=True)
    index = inverse.unsqueeze(1).expand(-1, probs_NC.shape[1])
    zeros = probs_NC.new_zeros(len(cases_K), probs_NC.shape[1])
    if how == "mean":
        pooled = zeros.scatter_reduce(0, index, probs_NC, "mean", include_self=False)
    elif how == "max":
        pooled = zeros.scatter_reduce(0, index, probs_NC, "amax", include_self=False)
    elif how == "noisy_or":
        missed = torch.log1p(-probs_NC.clamp(max=1 - 1e-7))
        pooled = 1 - torch.exp(zeros.scatter_add(0, index, missed))
    else:
        raise ValueError(f"pool {how!r} is none of {POOLS}")
    return pooled, cases_K


def attend_cases(logits_NK: Tensor, scores_N: Tensor, cases_N: Tensor) -> tuple[Tensor, Tensor]:
    """Average logits of instances by the softmax of their scores: one row a case, and the cases in ascending order.

    Args:
        logits_NK: (N, K), or (N, S, K) of members, which stay apart.
        scores_N: (N,), or (N, S).
        cases_N: the case number of each instance.
    """
    cases_K, inverse, counts = torch.unique(cases_N, return_inverse=True, return_counts=True)
    order, offsets = torch.argsort(inverse, stable=True), segment_offsets(counts)
    weights = segment_softmax(scores_N[order], offsets)
    return segment_sum(weights[..., None] * logits_NK[order], offsets), cases_K
