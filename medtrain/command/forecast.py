"""The time and memory of a training, from a few steps that were measured; its test split stays closed."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf, open_dict

from medtrain.callbacks import Progress, Speed
from medtrain.callbacks.speed import peak_memory_mb
from medtrain.command import build
from medtrain.command.opening import train_counts
from medtrain.data.base import Data

WARM = 3  # first steps, which allocate memory and choose algorithms
AFTERWARDS = 1.5e-3  # seconds a tested case and bootstrap replicate of 2,000: intervals, plots, report
LEAST_AFTERWARDS = 4.0  # seconds of plots and report, however few cases there are


@dataclass(frozen=True)
class Forecast:
    """What a training is expected to take, here.

    Args:
        step, look: seconds of a training and of a validation batch, waiting for data included.
        steps, looks: batches of an epoch.
        start: seconds until the first batch of an epoch is there.
        test: seconds of the test, its views and the report.
        prepare: seconds that reading the data took now; `decoded` files, which the training finds in the cache.
        memory_mb: largest memory of the process, and of the GPU.
    """

    step: float
    look: float
    steps: int
    looks: int
    start: float
    test: float
    prepare: float
    decoded: int
    memory_mb: dict[str, float]

    @property
    def epoch(self) -> float:
        """Give the seconds of an epoch."""
        return self.start + self.steps * self.step + self.looks * self.look

    def total(self, epochs: int) -> float:
        """Give the seconds of a training and its test."""
        return epochs * self.epoch + self.looks * self.look + self.test


class Stopwatch(pl.Callback):
    """Take the time of each batch, from the end of the one before."""

    def __init__(self) -> None:
        self.trained: list[float] = []
        self.looked: list[float] = []
        self._mark = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        self._mark = time.perf_counter()

    def on_validation_epoch_start(self, *_: Any) -> None:
        self._mark = time.perf_counter()

    def _lap(self, into: list[float]) -> None:
        now = time.perf_counter()
        into.append(now - self._mark)
        self._mark = now

    def on_train_batch_end(self, *_: Any) -> None:
        self._lap(self.trained)

    def on_validation_batch_end(self, *_: Any) -> None:
        self._lap(self.looked)


def forecast(cfg: DictConfig, folder: Path) -> Forecast:
    """Build what would be trained, train it for a few steps, and count.

    Args:
        cfg: of the training; `plan.steps` are measured.
        folder: for what Lightning writes; it can go afterwards.
    """
    wanted = int(cfg.plan.steps)
    short = _short(cfg, wanted + WARM)
    started = time.perf_counter()
    data = build.data(cfg)
    data.prepare()
    prepared = time.perf_counter() - started
    data.spec = build.with_loss(cfg, data.spec)
    task = build.task(cfg, data.spec, training=True, counts=train_counts(data))
    task.truth = data.truth
    trainer, watch = build.trainer(short, folder, training=True), Stopwatch()
    silent = [callback for callback in trainer.callbacks if not isinstance(callback, Progress | Speed)]  # type: ignore[attr-defined]
    trainer.callbacks = [watch, *silent]  # type: ignore[attr-defined]
    trainer.fit(task, datamodule=data)
    step, look = _usual(watch.trained), _usual(watch.looked)
    steps, looks = len(data.train_dataloader()), len(data.val_dataloader())
    return Forecast(
        step=step,
        look=look,
        steps=steps,
        looks=looks,
        start=max(0.0, watch.trained[0] - step) if watch.trained else 0.0,
        test=_test_seconds(cfg, data, look),
        prepare=prepared,
        decoded=data.decoded,
        memory_mb=peak_memory_mb(),
    )


def _short(cfg: DictConfig, batches: int) -> DictConfig:
    """Make the configuration of an epoch of so many batches that writes and logs nothing."""
    short = cfg.copy()
    with open_dict(short):
        short.trainer = OmegaConf.merge(
            cfg.trainer, {"max_epochs": 1, "limit_train_batches": batches, "limit_val_batches": batches}
        )
        short.callbacks = {name: node for name, node in cfg.callbacks.items() if name == "ema"}
        short.logger = {}
    return short


def _usual(laps: list[float]) -> float:
    """Give the mean of laps but for the first ones, and for the slowest tenth, in which others were busy."""
    counted = sorted(laps[WARM:] or laps)
    return statistics.fmean(counted[: max(1, round(0.9 * len(counted)))]) if counted else 0.0


def _test_seconds(cfg: DictConfig, data: Data, look: float) -> float:
    """Count the test, with its views and repeated passes, and what comes after it; no test case is looked at."""
    cases = {name: len(data.rows(name)) for name in ("val", "test")}
    a_case = look * len(data.val_dataloader()) / max(1, cases["val"])
    passes = 1 + int(cfg.eval.get("tta") or 0) + int(cfg.eval.get("mc_dropout") or 0)
    judged = cases["val"] + cases["test"]
    afterwards = max(LEAST_AFTERWARDS, AFTERWARDS * judged * int(cfg.eval.bootstrap) / 2000)
    return passes * a_case * judged + afterwards
