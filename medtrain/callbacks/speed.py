"""Measure how fast a run goes, how long it waits for data, and how much memory it takes."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch


class Speed(pl.Callback):
    """Measurements of training epochs, handed to the log and the run record.

    Args:
        report: called at the end of each training epoch with ``images_per_s``, ``data_wait`` (share of training
            time spent waiting for a batch), ``peak_memory_mb`` and the epoch.
    """

    def __init__(self, report: Callable[..., None] | None = None) -> None:
        self.report = report
        self.images, self.waited, self.worked = 0, 0.0, 0.0
        self._mark = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, task: Any) -> None:
        self._epoch = (0, 0.0, 0.0)
        self._mark = time.perf_counter()

    def on_train_batch_start(self, trainer: pl.Trainer, task: Any, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        self._waited, self._mark = now - self._mark, now

    def on_train_batch_end(self, trainer: pl.Trainer, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        images, waited, worked = self._epoch
        size = task.batch_size(batch) * trainer.world_size
        self._epoch = (images + size, waited + self._waited, worked + now - self._mark)
        self._mark = now

    def on_train_epoch_end(self, trainer: pl.Trainer, task: Any) -> None:
        images, waited, worked = self._epoch
        self.images, self.waited, self.worked = self.images + images, self.waited + waited, self.worked + worked
        if images == 0:
            return
        rate, share = images / max(waited + worked, 1e-9), waited / max(waited + worked, 1e-9)
        task.log("images_per_s", rate, rank_zero_only=True)
        task.log("data_wait", share, rank_zero_only=True)
        if self.report is not None and trainer.is_global_zero:
            total = max(self.waited + self.worked, 1e-9)
            self.report(
                epoch=trainer.current_epoch + 1,
                images_per_s=round(self.images / total, 1),
                data_wait=round(self.waited / total, 4),
                peak_memory_mb=peak_memory_mb(),
            )


def peak_memory_mb() -> dict[str, float]:
    """Measure the largest memory of this process, and of the GPU's allocations if there is one, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)}
    if torch.cuda.is_available():
        peaks["gpu"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return peaks
