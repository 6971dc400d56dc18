"""TensorBoard event files in the run folder, purged of what a restarted run will write again."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only


class TensorBoardLog(TensorBoardLogger):
    """A logger that writes ``folder/tensorboard``.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(save_dir=folder, name="tensorboard", version="", default_hp_metric=False)

    def rewind(self, epoch: int, step: int) -> None:
        """Hide the events from `step` on, when a run goes on from there."""
        self._kwargs["purge_step"] = step

    @rank_zero_only
    def save(self) -> None:
        """Save nothing: config.yaml is the run's record; no second one here."""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Log nothing: the run's config.yaml has them."""
