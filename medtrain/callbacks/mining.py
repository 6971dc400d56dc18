"""Tell a sampler that asks for it how hard each training case is, after every epoch."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader

from medtrain.sampler import Remembering


class Mining(pl.Callback):
    """Feedback for samplers with ``remember``: the hardness of all training cases as they are, without augmentation.

    It costs a pass without gradients an epoch. What was told lies in the checkpoint, so a resumed run draws as the
    undisturbed one would have. Nothing happens with other samplers.
    """

    def __init__(self) -> None:
        self.sampler_state: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, task: Any) -> None:
        sampler = _asking(trainer)
        if sampler is not None and self.sampler_state:
            sampler.load_state_dict(self.sampler_state)

    def on_train_epoch_end(self, trainer: pl.Trainer, task: Any) -> None:
        sampler = _asking(trainer)
        if sampler is None or trainer.current_epoch + 1 == trainer.max_epochs:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        was = task.training
        task.eval()
        with torch.no_grad():
            hardness = [task.hardness(_on(batch, task.device)).cpu() for batch in data.eval_dataloader("train")]
        task.train(was)
        sampler.remember(_in_order(torch.cat(hardness))[: len(data.labels(data.rows("train")))])
        self.sampler_state = sampler.state_dict()

    def state_dict(self) -> dict[str, Any]:
        return self.sampler_state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sampler_state = state_dict


def _asking(trainer: pl.Trainer) -> Remembering | None:
    """Find the training sampler, if it wants to know."""
    loader = trainer.train_dataloader
    batches = loader.batch_sampler if isinstance(loader, DataLoader) else None
    sampler = batches.sampler if isinstance(batches, BatchSampler) else None
    return sampler if isinstance(sampler, Remembering) else None


def _in_order(mine_N: Tensor) -> Tensor:
    """Put the values of all ranks in order; each has seen every world-th sample."""
    if not (dist.is_available() and dist.is_initialized()):
        return mine_N
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, mine_N)
    return torch.stack(everyone, 1).flatten()


def _on(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {key: value.to(device) for key, value in batch.items()}
