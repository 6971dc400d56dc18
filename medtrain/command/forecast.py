"""The time and memory of a training, from a few steps that were measured; its test split stays closed."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf, open_dict

from medtrain.callbacks import Progress, Speed
from medtrain.callbacks.speed import peak_memory_mb
from medtrain.command import build
from medtrain.command.opening import train_counts
from medtrain.core.alone import Clock, Span
from medtrain.data.base import Data
from medtrain.data.rows.covariates import in_words

WARM = 3  # first steps, which allocate memory and choose algorithms
EPOCHS = 2  # that are measured at least: what an epoch takes beside its batches shows in those after the first
MOST_EPOCHS = 6
FILES = ("csv", "tensorboard")  # loggers that write into the folder, and nowhere else

# Of a core, after the last epoch: measured by scripts/benchmarks/forecast.py (docs/verbs/plan.md)
JUDGED = 2e-3  # seconds: a judged case and 2,000 replicates: metrics with their intervals
DRAWN = 1.2  # seconds: metrics, plots and report, however few cases there are
PICTURED = 2.0  # seconds: what was found and missed, drawn on pictures, where boxes are predicted
DRAWN_MB = 200.0  # memory that these take


@dataclass(frozen=True)
class Forecast:
    """What a training is expected to take, on this machine if no other program uses it.

    Args:
        step, look: seconds of a training and of a validation batch, waiting for data included.
        steps, looks: batches of an epoch.
        beside: seconds of an epoch beside its batches: its start, metrics, checkpoints.
        once: what the first epoch takes more than the others, and what goes before it.
        start: seconds of Python's imports, and of opening the data as they lie in the cache.
        test: seconds of the test, its views and the report; `views` those of the views alone.
        memory_mb: largest memory of the process, and of the GPU.
        remarks: what the training will say of its data: covariates, the plan of masks, horizons, approximations.
        slowed: by how many times other programs have slowed the measured steps; that is in no other number.
    """

    step: float
    look: float
    steps: int
    looks: int
    beside: float
    once: float
    start: float
    test: float
    memory_mb: dict[str, float]
    slowed: float
    views: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def epoch(self) -> float:
        """Give the seconds of an epoch."""
        return self.beside + self.steps * self.step + self.looks * self.look

    def without_views(self) -> Forecast:
        """Give the same without views in the test."""
        return replace(self, test=self.test - self.views, views=0.0)

    def total(self, epochs: int) -> float:
        """Give the seconds of a training and its test."""
        return self.start + self.once + epochs * self.epoch + self.test


class Stopwatch(pl.Callback):
    """Take the time of each batch, and of what an epoch takes beside its batches.

    Args:
        clock: of all laps.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.trained: list[list[Span]] = []  # batches of each epoch
        self.looked: list[list[Span]] = []
        self.beside: list[list[Span]] = []
        self.before: list[Span] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self._other()
        self.trained.append([])
        self.looked.append([])
        self.beside.append([])

    def on_train_batch_end(self, *_: Any) -> None:
        self.trained[-1].append(self.clock.lap())

    def on_validation_epoch_start(self, *_: Any) -> None:
        self._other()

    def on_validation_batch_end(self, *_: Any) -> None:
        self.looked[-1].append(self.clock.lap())

    def on_validation_epoch_end(self, *_: Any) -> None:
        self._other()

    def on_fit_end(self, *_: Any) -> None:
        self._other()

    def _other(self) -> None:
        span = self.clock.lap()
        (self.beside[-1] if self.beside else self.before).append(span)

    def usual(self, epochs: list[list[Span]]) -> float:
        """Give the mean of a batch, but for the first ones of all and for what the first of an epoch waits for data."""
        later = [seconds for spans in epochs[1:] for seconds in self._without_waiting(spans)]
        counted = [self.clock.alone(span) for span in epochs[0][WARM:]] + later if epochs else []
        counted = counted or [self.clock.alone(span) for spans in epochs for span in spans]
        return statistics.fmean(counted) if counted else 0.0

    def _without_waiting(self, spans: list[Span]) -> list[float]:
        """Give the seconds of an epoch's batches; of several, the first counts no more than the longest other."""
        seconds = [self.clock.alone(span) for span in spans]
        return [min(seconds[0], max(seconds[1:])), *seconds[1:]] if len(seconds) > WARM else seconds

    def other(self) -> float:
        """Give the mean of what an epoch takes beside its batches; the first epoch does more."""
        seconds = []
        for number, spans in list(enumerate(self.beside))[1 if len(self.beside) > 1 else 0 :]:
            of_batches = [epochs[number] for epochs in (self.trained, self.looked)]
            waiting = sum(sum(map(self.clock.alone, own)) - sum(self._without_waiting(own)) for own in of_batches)
            seconds.append(sum(map(self.clock.alone, spans)) + waiting)
        return statistics.fmean(seconds) if seconds else 0.0

    def once(self) -> float:
        """Give what goes before the first epoch, and what that takes more than the others."""
        firsts = [epochs[0] for epochs in (self.trained, self.looked, self.beside) if epochs]
        seconds = sum(self.clock.alone(span) for spans in (*firsts, self.before) for span in spans)
        usual = [len(epochs[0]) * self.usual(epochs) for epochs in (self.trained, self.looked) if epochs]
        return max(0.0, seconds - sum(usual) - self.other())


def forecast(cfg: DictConfig, folder: Path, start: float = 0.0, processes: int = 1) -> Forecast:
    """Build what would be trained, train it for a few steps, and count.

    It is measured in one process. Of several, each takes its part of an epoch, as quickly as one alone.

    Args:
        cfg: of the training; `plan.steps` are measured.
        folder: for what Lightning writes; it can go afterwards.
        start: seconds of the imports, which this process has behind it.
        processes: that will train.
    """
    reading = Clock()
    data = build.data(cfg)
    data.prepare()
    prepared = reading.alone(reading.lap())
    data.spec = build.with_loss(cfg, data.spec)
    task = build.task(cfg, data.spec, training=True, counts=train_counts(data))
    task.truth = data.truth
    steps, looks = (math.ceil(len(made()) / processes) for made in (data.train_dataloader, data.val_dataloader))
    clock = Clock()
    trainer, watch = build.trainer(_short(cfg, steps), folder, training=True), Stopwatch(clock)
    silent = [callback for callback in trainer.callbacks if not isinstance(callback, Progress | Speed)]  # type: ignore[attr-defined]
    trainer.callbacks = [watch, *silent]  # type: ignore[attr-defined]
    clock.start()
    trainer.fit(task, datamodule=data)
    look = watch.usual(watch.looked)
    test, views = _test_seconds(cfg, data, look, processes)
    return Forecast(
        step=watch.usual(watch.trained),
        look=look,
        steps=steps,
        looks=looks,
        beside=watch.other(),
        once=watch.once(),
        start=start + (0.0 if data.decoded else prepared),  # what was decoded now, the training finds in the cache
        test=test,
        views=views,
        memory_mb={name: mb + DRAWN_MB * (name == "process") for name, mb in peak_memory_mb().items()},
        slowed=clock.slowed(),
        remarks=_remarks(data, steps),
    )


def _remarks(data: Data, steps: int) -> tuple[str, ...]:
    """Collect what was settled from the training cases, and what of the loss is an approximation."""
    cases, target = len(data.rows("train")), data.spec.target
    beside = in_words(data.spec.covariates) if data.spec.covariates else ""
    words = (data.planned, beside, target.choices, target.approximation(math.ceil(cases / max(1, steps)), cases))
    return tuple(text for text in words if text)


def _short(cfg: DictConfig, steps: int) -> DictConfig:
    """Make the configuration of `plan.steps` batches, in two epochs at least, logged into files alone."""
    wanted = int(cfg.plan.steps) + WARM
    batches = max(1, min(steps, math.ceil(wanted / EPOCHS)))
    epochs = min(max(EPOCHS, math.ceil(wanted / batches)), MOST_EPOCHS)
    devices = cfg.trainer.devices
    first = list(devices)[:1] if OmegaConf.is_list(devices) else 1
    alone = {"devices": first, "num_nodes": 1, "strategy": "auto"}
    short = cfg.copy()
    with open_dict(short):
        short.trainer = OmegaConf.merge(
            cfg.trainer, alone | {"max_epochs": epochs, "limit_train_batches": batches, "limit_val_batches": batches}
        )
        short.logger = {name: node for name, node in cfg.logger.items() if name in FILES}
    return short


def _test_seconds(cfg: DictConfig, data: Data, look: float, processes: int) -> tuple[float, float]:
    """Count the test, with its views and repeated passes, and what comes after it; no test case is looked at.

    Returns:
        its seconds, and those of the views among them.
    """
    cases = {name: len(data.rows(name)) for name in ("train", "val", "test")}
    a_case = look * len(data.val_dataloader()) / max(1, cases["val"]) / processes
    views = int(cfg.eval.get("tta") or 0)
    passes = 1 + views + int(cfg.eval.get("mc_dropout") or 0)
    judged = cases["val"] + cases["test"]
    seen = judged + (cases["train"] if data.spec.target.looks_back else 0)
    drawn = DRAWN + PICTURED * (data.truth is not None)
    seconds = passes * a_case * seen + JUDGED * judged * int(cfg.eval.bootstrap) / 2000 + drawn
    return seconds, views * a_case * seen
