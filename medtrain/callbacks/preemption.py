"""A run that gives its machine back when asked to: a checkpoint at the end of the batch, then a stop.

Lightning saves inside the signal handler, in the middle of a step, and resubmits the job itself; here the handler sets
a flag (`medtrain.core.notice`), all ranks agree on it after a batch, and whoever started the job decides what follows.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from medtrain.callbacks.checkpoint import LastCheckpoint
from medtrain.core.notice import Notice


class Preemption(Checkpoint):
    """A stop of the training after the notice was given, where it can go on from.

    Lightning calls checkpoint callbacks last, in their order; this one follows all others, so that the state that it
    saves holds all that they have done.

    Args:
        notice: the flag.
    """

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        self._seen = 0

    def on_train_start(self, trainer: pl.Trainer, task: Any) -> None:
        self._seen = trainer.global_step
        self.notice.own()  # Lightning has just put a handler of its own before it
        self.notice.patient = True

    def on_train_epoch_start(self, trainer: pl.Trainer, task: Any) -> None:
        """Stop before an epoch: what the one before came to is saved and logged."""
        if self._agreed(trainer):
            self.notice.stop()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Stop after an optimizer step, unless the epoch is about to end and to be saved anyway."""
        stepped, self._seen = trainer.global_step > self._seen, trainer.global_step
        if not stepped or trainer.is_last_batch or not self._agreed(trainer):
            return
        self.notice.heard()
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, LastCheckpoint):
                callback.save_within(trainer)
        self.notice.stop()

    def on_train_end(self, trainer: pl.Trainer, task: Any) -> None:
        self.notice.patient = False
        if self._agreed(trainer):
            self.notice.stop()

    def _agreed(self, trainer: pl.Trainer) -> bool:
        """Ask all ranks whether one has had the notice: the signal reaches them at different moments."""
        return bool(trainer.strategy.reduce_boolean_decision(self.notice.given is not None, all=False))
