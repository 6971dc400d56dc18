"""Checkpoints: the best by the validation metric, the last to go on from; whole or not there.

Lightning writes through a temporary file of the system's folder, which may lie on another disk: moving it from
there is a copy that a kill can cut short. Its ``save_last`` writes only when the best one changes, and its state
holds the folder's path, so that a run folder that was moved forgets its best score.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from medtrain.callbacks.choice import Choice, Mode
from medtrain.core.errors import MedtrainError
from medtrain.core.ranges import Above, Count, checked
from medtrain.io.files import atomic_path

TOGETHER = 16  # steps between two looks at the clock that all ranks agree on


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt``, replaced whenever an epoch is better than ever by the monitored metric.

    Of equal values the one with the lower validation loss is kept; see `Choice`.

    Args:
        monitor: a logged metric, such as ``val_auroc``.
        mode: ``max`` or ``min``.

    Attributes:
        keep: whether outputs are to be kept; a run that is not judged by them has no use for them.
        outputs: what was validated of the best epoch; None where that was before the run went on.
    """

    def __init__(self, monitor: str = "val_auroc", mode: Mode = "max") -> None:
        super().__init__(filename="best", monitor=monitor, mode=mode, save_top_k=1, enable_version_counter=False)
        self.best: Choice | None = None
        self.keep = False
        self.outputs: Any = None

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """Tell whether the epoch that was just validated is better than the best one; all ranks say the same."""
        if current is None or self.monitor is None:
            return False
        choice = Choice.of(trainer.callback_metrics, self.monitor, self.mode)  # type: ignore[arg-type]
        better = self.best is None or choice.beats(self.best, self.mode)  # type: ignore[arg-type]
        better = trainer.strategy.reduce_boolean_decision(better)
        if better:
            self.best = choice
            self.outputs = trainer.lightning_module.results if self.keep else None
        return better

    def state_dict(self) -> dict[str, Any]:
        """Save the best score and its loss; no paths, so that the run folder can be moved."""
        score = self.best_model_score
        best = {"best_model_score": None if score is None else float(score)}
        return best | ({"best_loss": self.best.loss} if self.best else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["best_model_score"] is None:
            return
        path = self.format_checkpoint_name({}, filename="best")
        score = torch.tensor(state_dict["best_model_score"])
        self.best_model_path = self.kth_best_model_path = path
        self.best_model_score = self.current_score = self.kth_value = score
        self.best_k_models = {path: score}
        # a run of 0.2 does not know the loss: no equal value replaces its best one
        self.best = Choice(float(score), float(state_dict.get("best_loss", -inf)))


class LastCheckpoint(ModelCheckpoint):
    """``last.ckpt``: where a stopped run goes on. After each epoch, and within one after so many minutes or steps.

    Within an epoch only if the training loader can go on there (it has `load_state_dict`).

    Args:
        minutes: since the last checkpoint, None for never; several ranks look at the clock every 16 steps.
        every_n_steps: optimizer steps, None for never.

    Raises:
        UsageError: an interval that is not positive.
    """

    @checked("callbacks.last")
    def __init__(self, minutes: Annotated[float, Above(0)] | None = 10.0, every_n_steps: Count | None = None) -> None:
        super().__init__(filename="last", save_top_k=1, save_on_train_epoch_end=True, enable_version_counter=False)
        self.minutes, self.steps = minutes, every_n_steps
        self._time, self._seen = 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._time, self._seen = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Save between optimizer steps only, so that no gathered gradient is lost; an epoch's end saves by itself."""
        stepped, self._seen = trainer.global_step > self._seen, trainer.global_step
        if stepped and not trainer.is_last_batch and self._due(trainer):
            self.save_within(trainer)

    def save_within(self, trainer: pl.Trainer) -> None:
        """Save now, in the middle of an epoch, if the run can go on from there."""
        if hasattr(trainer.train_dataloader, "load_state_dict"):
            self._save_checkpoint(trainer, self.format_checkpoint_name({}))

    def _due(self, trainer: pl.Trainer) -> bool:
        step = trainer.global_step
        if self.steps is not None and step % self.steps == 0:
            return True
        if self.minutes is None or (trainer.world_size > 1 and step % TOGETHER):
            return False
        return bool(trainer.strategy.broadcast(time.monotonic() - self._time >= 60 * self.minutes))

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        self._time = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over nothing: the next epoch replaces the file."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, written atomically and read with ``weights_only=True``."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        try:
            # to an open file, whose error says why it can't be written; torch's own says at which byte
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            raise MedtrainError(
                f"cannot write the checkpoint {path}: {_reason(error)}; free some space, then resume"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return dict(load(path, map_location or "cpu"))


def _reason(error: BaseException) -> str:
    """Say what the system said, if anywhere in the chain of errors, else what the last one says."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__cause__ or link.__context__
    return str(error).split("\n")[0]


def load(path: Any, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint of plain values and tensors.

    Raises:
        MedtrainError: not a file, or not such a checkpoint.
    """
    try:
        loaded = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises anything from KeyError to UnpicklingError on broken files
        reason = "it is not there" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}"
        raise MedtrainError(f"{path}: cannot be read as a checkpoint ({reason}); give a .ckpt of a run") from error
    if not isinstance(loaded, dict):
        raise MedtrainError(f"{path}: not a checkpoint but a {type(loaded).__name__}")
    return loaded


def network_weights(state: Mapping[str, Any]) -> dict[str, Any]:
    """Take a task's state without that of its loss, which is for training."""
    return {name: value for name, value in state.items() if not name.startswith("loss.")}
