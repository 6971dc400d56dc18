"""Learning rates by optimizer step, relative to the optimizer's own, which is the peak."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from medtrain.core.errors import UsageError


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.05, floor: float = 0.0) -> LambdaLR:
    """Linear warm-up to the optimizer's rate, then half a cosine down to a floor; step it after every batch.

    Loshchilov and Hutter, SGDR, ICLR 2017, without restarts.

    Args:
        optimizer: each parameter group keeps its own peak.
        total_steps: optimizer steps of the whole run; later steps stay at the floor.
        warmup: share of the steps for the warm-up, in [0, 1); the first step is already above 0.
        floor: the last rate as a share of the peak, in [0, 1].

    Raises:
        UsageError: a share is out of range.
    """
    if not 0 <= warmup < 1:
        raise UsageError(f"scheduler.warmup={warmup} is not in [0, 1): it is a share of the steps")
    if not 0 <= floor <= 1:
        raise UsageError(f"scheduler.floor={floor} is not in [0, 1]: it is a share of the peak rate")
    warm = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        progress = min(1.0, (step - warm) / max(1, total_steps - warm))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """The optimizer's own rate throughout; `total_steps` is taken so that all schedules are built alike."""
    return LambdaLR(optimizer, lambda step: 1.0)
