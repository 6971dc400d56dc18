"""Exponential moving average of the weights: what is validated, kept as best.ckpt and tested.

Lightning's callback swaps, saves and restores; here is what it leaves open. The average lies beside the model
(Lightning makes it before the model has moved to its device, and would copy every step to the CPU), it starts fast,
counters are copied, and constants stay the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from medtrain.core.ranges import Inside, checked


class EMA(WeightAveraging):
    """Average of weights and buffers, updated after each optimizer step.

    Checkpoints hold the average as ``state_dict`` and the trained weights as ``current_model_state``, from which a
    resumed run goes on. Running means and variances are averaged like the weights that they belong to; counters are
    copied.

    Args:
        decay: weight of the old average, in (0, 1). Until step n the decay is at most (1 + n) / (10 + n), so that a
            short run isn't an average of its first steps.

    Raises:
        UsageError: the decay is out of range.
    """

    @checked("callbacks.ema")
    def __init__(self, decay: Inside = 0.999) -> None:
        self.decay = decay
        super().__init__(use_buffers=True, multi_avg_fn=self.average)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    @torch.no_grad()
    def average(self, averages: Any, currents: Any, updates: Tensor | int) -> None:
        """Move averages towards the current values, in place; tensors of one type, after `updates` updates."""
        n = int(updates)
        weight = 1 - min(self.decay, (1 + n) / (10 + n))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, currents, weight)  # exact where both are equal
        else:
            torch._foreach_copy_(averages, currents)
