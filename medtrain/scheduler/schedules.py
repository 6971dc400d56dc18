"""Learning rates by optimizer step, relative to the optimizer's own, which is the peak."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from medtrain.core.errors import UsageError
from medtrain.core.ranges import Above, AtLeast, AtMost, Inside, Part, Share, checked


@checked("scheduler")
def cosine(optimizer: Optimizer, total_steps: int, warmup: Part = 0.05, floor: Share = 0.0) -> LambdaLR:
    """Schedule a linear warm-up to the optimizer's rate, then half a cosine down to a floor, batch by batch.

    Loshchilov and Hutter, SGDR, ICLR 2017, without restarts.

    Args:
        optimizer: each parameter group keeps its own peak.
        total_steps: optimizer steps of the whole run; later steps stay at the floor.
        warmup: share of the steps for the warm-up, in [0, 1); the first step is already above 0.
        floor: the last rate as a share of the peak, in [0, 1].

    Raises:
        UsageError: a share is out of range.
    """
    warm = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        progress = min(1.0, (step - warm) / max(1, total_steps - warm))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """Schedule the optimizer's own rate throughout; `total_steps` is taken so that all schedules are built alike."""
    return LambdaLR(optimizer, lambda step: 1.0)


@checked("scheduler")
def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    warmup: Part = 0.3,
    start: Annotated[float, Above(0), AtMost(1)] = 0.04,
    floor: Share = 0.0,
) -> OneCycleLR:
    """Schedule half a cosine up to the optimizer's rate, another to the floor; momentum goes 0.95, 0.85, 0.95.

    Smith and Topin, Super-Convergence, 2018, in two phases, by `torch.optim.lr_scheduler.OneCycleLR`.

    Args:
        optimizer: each parameter group keeps its own peak; Adam's first beta is its momentum, and an optimizer
            without momentum keeps none.
        total_steps: optimizer steps of the whole run; there is no step beyond them.
        warmup: share of the steps on the way up, in [0, 1).
        start: the first rate as a share of the peak, in (0, 1].
        floor: the last rate as a share of the peak, in [0, start].

    Raises:
        UsageError: a share is out of range.
    """
    if floor > start:
        raise UsageError(f"scheduler.start={start} is below scheduler.floor={floor}")
    has_momentum = "betas" in optimizer.defaults or bool(optimizer.defaults.get("momentum"))
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=total_steps,
        pct_start=warmup,
        div_factor=1 / start,
        final_div_factor=start / max(floor, 1e-6),
        cycle_momentum=has_momentum,
    )


class Plateau(ReduceLROnPlateau):
    """The optimizer's own rate, cut by a factor whenever a validation metric has not got better for some epochs.

    Args:
        total_steps: taken so that all schedules are built alike.
        monitor: the metric, as it is logged; whoever steps the schedule looks it up.
        mode: ``max`` or ``min``.
        factor: the new rate as a share of the old one, in (0, 1).
        patience: epochs without a better value that are still endured.

    Raises:
        UsageError: the factor or the mode is none.
    """

    @checked("scheduler")
    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int = 0,
        monitor: str = "val_auroc",
        mode: Literal["min", "max"] = "max",
        factor: Inside = 0.1,
        patience: Annotated[int, AtLeast(0)] = 3,
    ) -> None:
        super().__init__(optimizer, mode=mode, factor=factor, patience=patience)
        self.monitor = monitor
