"""What is better of two epochs: the monitored metric, and of equal values the lower validation loss.

A metric of ranks on few cases is coarse: an AUROC of 1.0 in three epochs does not say which of them is calibrated, nor
whether training is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, isnan
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping as LightningEarlyStopping
from torch import Tensor

from medtrain.core.monitor import LOSS

Mode = Literal["min", "max"]


class Choice(NamedTuple):
    """What an epoch is chosen by.

    Args:
        value: of the monitored metric.
        loss: the validation loss; infinite where it is unknown.
    """

    value: float
    loss: float = inf

    @classmethod
    def of(cls, metrics: Mapping[str, Any], monitor: str, mode: Mode) -> Choice:
        """Read an epoch's from what was logged: an undefined metric is the worst, an undefined loss unknown."""
        value, loss = float(metrics[monitor]), float(metrics.get(LOSS, inf))
        worst = inf if mode == "min" else -inf
        return cls(worst if isnan(value) else value, inf if isnan(loss) else loss)

    def beats(self, other: Choice, mode: Mode) -> bool:
        """Tell whether it is better than another, whose loss counts where the values are equal."""
        if self.value == other.value:
            return self.loss < other.loss
        return self.value < other.value if mode == "min" else self.value > other.value


class EarlyStopping(LightningEarlyStopping):
    """Lightning's, for which an equal value of the metric with a lower validation loss is progress too.

    Args:
        monitor: a logged metric, such as ``val_auroc``.
        mode: ``max`` or ``min``.
        patience: epochs without progress until the training ends.
        min_delta: by how much the metric has to be better; equal values are told apart by the loss, however little.
        more: as Lightning has it.
    """

    def __init__(
        self,
        monitor: str = "val_auroc",
        min_delta: float = 0.0,
        patience: int = 10,
        mode: Mode = "max",
        **more: Any,
    ) -> None:
        super().__init__(monitor, min_delta=min_delta, patience=patience, mode=mode, **more)
        self.best_loss = inf
        self._loss = inf  # of the epoch that is being looked at

    def _run_early_stopping_check(self, trainer: pl.Trainer) -> None:
        self._loss = float(trainer.callback_metrics.get(LOSS, inf))
        super()._run_early_stopping_check(trainer)

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        before = self.best_score
        if isfinite(current) and current == before and self._loss < self.best_loss:
            self.best_loss, self.wait_count = self._loss, 0
            return False, f"{self.monitor} is as good as before, {LOSS} better: {self._loss:.4f}"
        verdict: tuple[bool, str | None] = super()._evaluate_stopping_criteria(current)
        if self.best_score is not before:
            self.best_loss = self._loss
        return verdict

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best_loss = state_dict.get("best_loss", -inf)  # of a run of 0.2: unknown, so it isn't beaten
