"""Segment operations: many instances of few cases, without padding.

Instances of a case (patches of a volume, tiles of a slide, or the one image itself) carry their case's number;
pooling turns instance logits into one prediction a case, whatever the order or the batch mates.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from medtrain.core.segments import segment_max, segment_offsets, segment_softmax, segment_sum

POOLS = ("mean", "max", "noisy_or")
LEAST = 1e-300  # a probability that float64 still tells from 0


def pool_cases(
    logits_NK: Tensor, cases_N: Tensor, how: str = "mean", exclusive: bool = False, plain: bool = False
) -> tuple[Tensor, Tensor]:
    """Pool probabilities of instances into logits of cases, and return the cases in ascending order.

    All is computed from log(p) and log(1 - p), so that cases of any number of sure instances stay apart, and have
    gradients, where the probabilities themselves round to 1.

    Args:
        logits_NK: of instances, (N, K), or (N, S, K) of members, which stay apart.
        cases_N: the case number of each instance.
        how: ``mean`` or ``max`` of the probabilities, or ``noisy_or``: 1 - prod(1 - p), for findings that one instance
            proves (Pearl 1988). Of exclusive classes that is the probability of each on the condition that exactly one
            is proven, which is in proportion to the odds of its noisy or.
        exclusive: logits are those of a softmax over K, else of K sigmoids.
        plain: they are numbers, of which the mean is taken.

    Returns:
        (logits_CK, cases_K) for the distinct cases; float64.
    """
    cases_K, inverse, counts = torch.unique(cases_N, return_inverse=True, return_counts=True)
    order, offsets = torch.argsort(inverse, stable=True), segment_offsets(counts)
    if plain:
        lengths = offsets.diff().reshape(-1, *[1] * (logits_NK.ndim - 1))
        return segment_sum(logits_NK[order].double(), offsets) / lengths, cases_K
    yes, no = _logs(logits_NK[order].double(), exclusive)
    if how == "mean":
        yes, no = _log_mean(yes, offsets), _log_mean(no, offsets)
    elif how == "max":
        yes, no = segment_max(yes, offsets), -segment_max(-no, offsets)
    elif how == "noisy_or":
        no = segment_sum(no, offsets).clamp(max=-LEAST)
        yes = torch.log(-torch.expm1(no))
    else:
        raise ValueError(f"pool {how!r} is none of {POOLS}")
    return (yes if exclusive and how != "noisy_or" else yes - no), cases_K


def _logs(logits: Tensor, exclusive: bool) -> tuple[Tensor, Tensor]:
    """Compute log(p) and log(1 - p), neither of which rounds to 0 where the other is large."""
    if not exclusive:
        return logsigmoid(logits), logsigmoid(-logits)
    yes = logits.log_softmax(-1)
    k = logits.shape[-1]
    no = [yes[..., [other for other in range(k) if other != c]].logsumexp(-1) for c in range(k)]
    return yes, torch.stack(no, -1).clamp(max=0)


def _log_mean(logs: Tensor, offsets: Tensor) -> Tensor:
    """Compute the logarithm of the mean of what these are the logarithms of, in each segment."""
    lengths = offsets.diff().reshape(-1, *[1] * (logs.ndim - 1))
    top = segment_max(logs.detach(), offsets)
    spread = top.repeat_interleave(offsets.diff().to(top.device), 0)
    return top + (segment_sum((logs - spread).exp(), offsets) / lengths.to(top.device)).log()


def pool_case(logits_NSK: Tensor, how: str = "mean", exclusive: bool = False, plain: bool = False) -> Tensor:
    """Pool the instances of one case to logits (S, K), float64, as `pool_cases` does; any axes may follow the first.

    Nothing in it depends on values, so that it can be traced.
    """
    if plain:
        return logits_NSK.double().mean(0)
    yes, no = _logs(logits_NSK.double(), exclusive)
    if how == "mean":
        yes, no = _log_mean_of_all(yes), _log_mean_of_all(no)
    elif how == "max":
        yes, no = yes.amax(0), no.amin(0)
    elif how == "noisy_or":
        no = no.sum(0).clamp(max=-LEAST)
        yes = torch.log(-torch.expm1(no))
    else:
        raise ValueError(f"pool {how!r} is none of {POOLS}")
    return yes if exclusive and how != "noisy_or" else yes - no


def _log_mean_of_all(logs: Tensor) -> Tensor:
    top = logs.amax(0)
    return top + (logs - top).exp().mean(0).log()


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
