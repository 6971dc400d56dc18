"""The rules that every loss here shares: unknown labels don't count, and a batch without any has a gradient."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def full_precision(logits: Tensor) -> Tensor:
    """Convert to at least float32: exponentials in half precision cost accuracy."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def masked_mean(values: Tensor, known: Tensor, weights: Tensor | None = None) -> Tensor:
    """Average `values` where `known`; 0, with a gradient of 0, where nothing is known.

    Args:
        values: any shape; may be anything but NaN or infinite where unknown.
        known: bool, of the same shape.
        weights: what `values` were multiplied with; the sum is then divided by theirs, as torch's weighted mean is.
    """
    total = of_all_processes(known.sum() if weights is None else torch.where(known, weights, 0).sum())
    return torch.where(known, values, 0).sum() / torch.where(total > 0, total, 1)


def of_all_processes(total: Tensor) -> Tensor:
    """Average what is known over the processes that train together; elsewhere it stays as it is.

    Gradients are averaged over processes: of sums divided by this they are those of one process with all the cases, be
    it that one of them knows more than another.
    """
    if not (torch.is_grad_enabled() and dist.is_available() and dist.is_initialized()):
        return total
    mean = total.detach().to(torch.float32, copy=True)
    dist.all_reduce(mean)
    return mean / dist.get_world_size()
