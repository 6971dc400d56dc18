"""A trial of a search that ends early: what validation says after each epoch goes to the study, whose pruner answers.

A trial is told of its study by a variable of the environment, which its ranks inherit: its configuration stays one that
can be run again by itself.
"""

from __future__ import annotations

import json
import os
from math import isfinite
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from medtrain.core.extras import extra
from medtrain.io.study import WHO, make_pruner, open_study

TRIAL = "MEDTRAIN_TRIAL"


def describe(folder: Path, number: int, pruner: str, monitor: str, epochs: int | None) -> str:
    """Write what `of_trial` reads: the search's folder, the trial's number, the pruner and what it looks at."""
    return json.dumps({"folder": str(folder), "number": number, "pruner": pruner, "monitor": monitor, "epochs": epochs})


def of_trial() -> list[Pruning]:
    """Make the callback of the trial that this process trains; none outside of a search that prunes."""
    return [Pruning(**json.loads(os.environ[TRIAL]))] if os.environ.get(TRIAL) else []


def pruned(trainer: pl.Trainer) -> Pruning | None:
    """Find the callback that has ended the training, if one has."""
    callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
    return next((one for one in callbacks if isinstance(one, Pruning) and one.epoch is not None), None)


class Pruning(pl.Callback):
    """The monitored metric, reported after each epoch.

    Args:
        folder: of the search.
        number: of the trial.
        pruner: median or hyperband.
        monitor: the metric.
        epochs: the most that a trial has.

    Attributes:
        epoch: after how many epochs the trial was pruned; None if it was not.
    """

    def __init__(self, folder: str, number: int, pruner: str, monitor: str, epochs: int | None) -> None:
        self.folder, self.number, self.monitor = Path(folder), number, monitor
        self.pruner, self.epochs = pruner, epochs
        self.epoch: int | None = None
        self._trial: Any = None

    def on_validation_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Report, and ask whether to go on; all ranks get the first one's answer."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        done = trainer.current_epoch + 1
        ends = trainer.is_global_zero and self._is_worse(trainer, done)
        if trainer.strategy.broadcast(ends, 0):
            self.epoch, trainer.should_stop = done, True

    def _is_worse(self, trainer: pl.Trainer, done: int) -> bool:
        value = trainer.callback_metrics.get(self.monitor)
        if value is None or not isfinite(float(value)):
            return False
        trial = self._open()
        if done not in trial.study._storage.get_trial(trial._trial_id).intermediate_values:
            trial.report(float(value), done)
        last = self.epochs is not None and done >= self.epochs  # nothing is left to be spared
        return not last and bool(trial.should_prune())

    def _open(self) -> Any:
        if self._trial is None:
            study = open_study(self.folder)
            study.pruner = make_pruner(self.pruner, self.epochs)
            known = study.get_trials(deepcopy=False)[self.number]
            self._trial = extra("optuna", WHO).trial.Trial(study, known._trial_id)
        return self._trial
