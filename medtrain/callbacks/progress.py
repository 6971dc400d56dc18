"""Progress for people: a bar with its speed on a terminal, a line an epoch everywhere."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.progress import Task as BarTask
from rich.text import Text

_SHOWN = ("train_loss", "val_loss")


class _Rate(ProgressColumn):
    """Images a second of the running epoch."""

    def render(self, task: BarTask) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed * task.fields.get('size', 1):,.0f} images/s" if speed else "", style="cyan")


class Progress(ProgressBar):
    """Bars on a terminal; after each epoch one line with losses, the monitored metrics and the speed."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self.console = console or Console()
        self._bars: Bars | None = None
        self._bar: Any = None
        self._enabled = True
        self._ended: int | None = None

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def _open(self, title: str, total: Any, size: int) -> None:
        self._close()
        if not (self._enabled and self.console.is_terminal):
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
        self._bars = Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True)
        self._bars.start()
        self._bar = self._bars.add_task(title, total=int(total) if total and total != float("inf") else None, size=size)

    def _step(self) -> None:
        if self._bars is not None:
            self._bars.advance(self._bar)

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def on_train_epoch_start(self, trainer: pl.Trainer, task: Any) -> None:
        self._tell(trainer)
        sampler: Any = getattr(trainer.train_dataloader, "batch_sampler", None)
        size = int(getattr(sampler, "batch_size", None) or 1) * trainer.world_size
        self._open(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", self.total_train_batches, size)

    def on_train_batch_end(self, trainer: pl.Trainer, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._step()

    def on_train_epoch_end(self, trainer: pl.Trainer, task: Any) -> None:
        self._close()
        self._ended = trainer.current_epoch + 1

    def on_train_end(self, trainer: pl.Trainer, task: Any) -> None:
        self._tell(trainer)

    def _tell(self, trainer: pl.Trainer) -> None:
        """Write the line of the epoch that has ended: the task logs its losses after callbacks have seen that end."""
        ended, self._ended = self._ended, None
        if not self._enabled or ended is None:
            return
        values = trainer.callback_metrics
        monitor = getattr(trainer.checkpoint_callback, "monitor", None) or ""
        names = [n for n in dict.fromkeys((*_SHOWN, monitor)) if n in values]
        parts = [f"{name} {float(values[name]):.4f}" for name in names]
        if "images_per_s" in values:
            parts.append(f"{float(values['images_per_s']):,.0f} images/s")
            parts.append(f"data wait {100 * float(values['data_wait']):.0f} %")
        self.console.print(
            f"epoch {ended:>3}/{trainer.max_epochs}  " + "  ".join(parts),
            highlight=False,
            soft_wrap=True,
        )

    def _on_eval_start(self, title: str, total: Any, trainer: pl.Trainer) -> None:
        if not (trainer.sanity_checking or trainer.training):
            self._open(title, total, 1)

    def on_validation_start(self, trainer: pl.Trainer, task: Any) -> None:
        self._on_eval_start("validation", sum(trainer.num_val_batches), trainer)

    def on_test_start(self, trainer: pl.Trainer, task: Any) -> None:
        self._on_eval_start("test", sum(trainer.num_test_batches), trainer)

    def on_predict_start(self, trainer: pl.Trainer, task: Any) -> None:
        self._on_eval_start("predict", sum(trainer.num_predict_batches), trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if not trainer.training:
            self._step()

    def on_test_batch_end(self, *args: Any) -> None:
        self._step()

    def on_predict_batch_end(self, *args: Any) -> None:
        self._step()

    def on_validation_end(self, trainer: pl.Trainer, task: Any) -> None:
        if not trainer.training:
            self._close()

    def on_test_end(self, trainer: pl.Trainer, task: Any) -> None:
        self._close()

    def on_predict_end(self, trainer: pl.Trainer, task: Any) -> None:
        self._close()

    def teardown(self, trainer: pl.Trainer, task: Any, stage: str) -> None:
        self._close()
