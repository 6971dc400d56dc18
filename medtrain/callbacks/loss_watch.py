"""Tell when the training loss explodes: the run goes on, yet what it had learned by then may be lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from statistics import median
from typing import Any

import pytorch_lightning as pl

log = logging.getLogger("medtrain")

FIRST = 20  # steps whose median says what the loss is at first
SMOOTH = 0.3  # weight of a step in the running mean, so that one odd batch of usual size is not told
TIMES = 10.0
LEAST = 1.0  # a loss that began near nothing may multiply and be small


class LossWatch(pl.Callback):
    """A warning, once a run, when the running mean of the training loss is ten times what it was at first.

    It takes the losses that the task has read already: a GPU is not waited for again, and is told of one step later.
    What it was at first is the median of the first 20 steps, or the lowest running mean since, where that is lower: a
    network that has learned for an hour and falls apart explodes as well.

    Args:
        report: called with ``loss_exploded``: epoch and step from 1, the step's loss, what it was before, and ``text``.
        warn: called with the text.
    """

    def __init__(self, report: Callable[..., None] | None = None, warn: Callable[[str], None] = log.warning) -> None:
        self.report, self.warn = report, warn
        self.first: list[float] = []
        self.mean = self.usual = 0.0
        self.exploded = False

    def on_train_batch_end(self, trainer: pl.Trainer, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss = task.means.read.pop("train_loss", None)
        if loss is None or self.exploded:
            return
        value = abs(loss)
        if len(self.first) < FIRST:
            self.first.append(value)
            self.mean = self.usual = median(self.first)
            if value <= TIMES * self.usual + LEAST:
                return
            self.mean = value
        else:
            self.mean += SMOOTH * (value - self.mean)
            self.usual = min(self.usual, self.mean)
        if self.mean > TIMES * self.usual + LEAST:
            self.exploded = True
            self._tell(trainer, value)

    def _tell(self, trainer: pl.Trainer, value: float) -> None:
        epoch, step = trainer.current_epoch + 1, trainer.global_step
        text = (
            f"the training loss exploded in epoch {epoch}, step {step}: {value:,.4g}, where it had been "
            f"{self.usual:,.3g}. Lower optimizer.lr, or set trainer.gradient_clip_val=1"
        )
        if trainer.is_global_zero:
            self.warn(text)
            if self.report is not None:
                facts = {"epoch": epoch, "step": step, "loss": value, "before": self.usual, "text": text}
                self.report(loss_exploded=facts)

    def state_dict(self) -> dict[str, Any]:
        return {"first": self.first, "mean": self.mean, "usual": self.usual, "exploded": self.exploded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)
