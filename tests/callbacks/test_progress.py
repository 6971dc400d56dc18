"""The line of an epoch has the losses of that epoch, which a task logs when callbacks have seen its end."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch.utils.data import DataLoader

from medtrain.callbacks.progress import Progress


class Counting(pl.LightningModule):
    """Has a training loss of 1 in the first epoch, 2 in the second, and of validation ten times that."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return self.weight * 0.0

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", 10.0 * (self.current_epoch + 1))

    def on_train_epoch_end(self) -> None:
        self.log("train_loss", float(self.current_epoch + 1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_each_epoch_has_its_own_losses(tmp_path: Path) -> None:
    text = io.StringIO()
    progress = Progress(Console(file=text, width=200))
    quiet: Any = {"logger": False, "enable_model_summary": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_epochs=2, callbacks=[progress], num_sanity_val_steps=0, default_root_dir=tmp_path, **quiet)
    loader: DataLoader[Any] = DataLoader(torch.zeros(2, 1))  # type: ignore[arg-type]
    trainer.fit(Counting(), loader, loader)
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert lines == [
        "epoch 1/2 train_loss 1.0000 val_loss 10.0000",
        "epoch 2/2 train_loss 2.0000 val_loss 20.0000",
    ]
