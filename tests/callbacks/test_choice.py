"""Which epoch is kept, and when training ends: the monitored metric, of equal values the lower validation loss."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medtrain.callbacks import EarlyStopping
from medtrain.callbacks.checkpoint import BestCheckpoint
from medtrain.callbacks.choice import Choice, Mode


@pytest.mark.parametrize(
    ("new", "best", "mode", "better"),
    [
        ((0.9, 1.0), (0.8, 0.1), "max", True),
        ((0.8, 0.1), (0.9, 1.0), "max", False),
        ((1.0, 0.3), (1.0, 0.4), "max", True),
        ((1.0, 0.4), (1.0, 0.4), "max", False),
        ((1.0, 0.5), (1.0, 0.4), "max", False),
        ((0.2, 9.0), (0.3, 0.1), "min", True),
        ((0.3, 0.1), (0.3, 0.2), "min", True),
        ((1.0, inf), (1.0, 0.4), "max", False),
        ((1.0, 0.4), (1.0, inf), "max", True),
    ],
)
def test_better(new: tuple[float, float], best: tuple[float, float], mode: Mode, better: bool) -> None:
    assert Choice(*new).beats(Choice(*best), mode) is better


@pytest.mark.parametrize("mode", ["max", "min"])
def test_an_undefined_metric_is_the_worst_and_then_the_loss_decides(mode: Mode) -> None:
    def of(value: float, loss: float) -> Choice:
        return Choice.of({"val_x": torch.tensor(value), "val_loss": torch.tensor(loss)}, "val_x", mode)

    assert of(0.1, 9.0).beats(of(nan, 0.1), mode) and not of(nan, 0.1).beats(of(0.1, 9.0), mode)
    assert of(nan, 0.1).beats(of(nan, 0.2), mode) and not of(nan, nan).beats(of(nan, 0.2), mode)
    assert of(0.5, 0.2).beats(of(0.5, nan), mode)
    assert Choice.of({"val_x": 0.5}, "val_x", mode).loss == inf


class Scripted(pl.LightningModule):
    """Logs what it is told to, epoch by epoch; its one weight is the number of the epoch."""

    def __init__(self, monitored: list[float], losses: list[float] | None) -> None:
        super().__init__()
        self.net, self.monitored, self.losses = nn.Linear(1, 1, bias=False), monitored, losses

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).sum() * 0

    def on_train_epoch_start(self) -> None:
        with torch.no_grad():
            self.net.weight.fill_(self.current_epoch)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val_x", self.monitored[self.current_epoch])
        if self.losses is not None:
            self.log("val_loss", self.losses[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def fit(
    folder: Path,
    monitored: list[float],
    losses: list[float] | None,
    mode: Mode = "max",
    patience: int = 99,
    **more: Any,
) -> tuple[int, int]:
    """Train on a script; (epoch that was kept, epochs that were run)."""
    best = BestCheckpoint("val_x", mode)
    best.dirpath = str(folder)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=more.pop("epochs", len(monitored)), logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder,
        callbacks=[best, EarlyStopping("val_x", mode=mode, patience=patience)],
    )  # fmt: skip
    loader: DataLoader[Any] = DataLoader(torch.ones(2, 1))  # type: ignore[arg-type]
    trainer.fit(Scripted(monitored, losses), loader, loader, **more)
    if "keep" not in more:
        trainer.save_checkpoint(folder / "last.ckpt")
    kept = torch.load(folder / "best.ckpt", weights_only=True)
    return int(kept["state_dict"]["net.weight"]), trainer.current_epoch


@pytest.mark.parametrize(
    ("monitored", "losses", "mode", "kept"),
    [
        ([1.0, 1.0, 1.0], [0.9, 0.4, 0.6], "max", 1),
        ([0.0, 0.0, 0.0], [0.9, 0.4, 0.3], "min", 2),
        ([0.7, 0.9, 0.9, 0.8], [0.1, 0.5, 0.4, 0.1], "max", 2),
        ([1.0, 1.0], [nan, 0.4], "max", 1),
        ([1.0, 1.0, 1.0], None, "max", 0),
    ],
)
def test_of_equal_epochs_the_one_with_the_lower_loss_is_kept(
    tmp_path: Path, monitored: list[float], losses: list[float] | None, mode: Mode, kept: int
) -> None:
    assert fit(tmp_path, monitored, losses, mode)[0] == kept


def test_training_goes_on_while_the_loss_of_equal_epochs_falls(tmp_path: Path) -> None:
    losses = [0.9, 0.8, 0.7, 0.6, 0.65, 0.7, 0.5]
    kept, run = fit(tmp_path, [1.0] * 7, losses, patience=2)
    assert (kept, run) == (3, 6)  # Lightning's own would end after the third epoch, whose loss still falls


def test_a_resumed_run_knows_the_loss_of_its_best_epoch(tmp_path: Path) -> None:
    monitored, losses = [1.0, 1.0, 1.0, 1.0], [0.5, 0.9, 0.6, 0.4]
    assert fit(tmp_path, monitored, losses, epochs=2) == (0, 2)
    last = str(tmp_path / "last.ckpt")
    assert fit(tmp_path, monitored, losses, epochs=3, ckpt_path=last, weights_only=True) == (0, 3)
    assert fit(tmp_path, monitored, losses, epochs=4, ckpt_path=last, weights_only=True) == (3, 4)


def test_a_best_epoch_of_a_run_that_kept_no_loss_is_not_replaced_by_an_equal_one() -> None:
    best, stopping = BestCheckpoint("val_x", "max"), EarlyStopping("val_x")
    best.dirpath = "."
    best.load_state_dict({"best_model_score": 1.0})
    assert best.best is not None and not Choice(1.0, 0.0).beats(best.best, "max")
    old = {k: v for k, v in stopping.state_dict().items() if k != "best_loss"}
    stopping.load_state_dict(old)
    assert stopping.best_loss == -inf
