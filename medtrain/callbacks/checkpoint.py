"""Checkpoints: the best by the validation metric, the last of each epoch; whole or not there.

Lightning writes through a temporary file of the system's folder, which may lie on another disk: moving it from
there is a copy that a kill can cut short. Its ``save_last`` writes only when the best one changes, and its state
holds the folder's path, so that a run folder that was moved forgets its best score.
"""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from medtrain.core.errors import MedtrainError
from medtrain.io.files import atomic_path


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt``, replaced whenever the monitored metric of an epoch is better than ever.

    Args:
        monitor: a logged metric, such as ``val_auroc``.
        mode: ``max`` or ``min``.
    """

    def __init__(self, monitor: str = "val_auroc", mode: str = "max") -> None:
        super().__init__(filename="best", monitor=monitor, mode=mode, save_top_k=1, enable_version_counter=False)

    def state_dict(self) -> dict[str, Any]:
        """The best score; no paths, so that the run folder can be moved."""
        score = self.best_model_score
        return {"best_model_score": None if score is None else float(score)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["best_model_score"] is None:
            return
        path = self.format_checkpoint_name({}, filename="best")
        score = torch.tensor(state_dict["best_model_score"])
        self.best_model_path = self.kth_best_model_path = path
        self.best_model_score = self.current_score = self.kth_value = score
        self.best_k_models = {path: score}


class LastCheckpoint(ModelCheckpoint):
    """``last.ckpt`` after each epoch: where a stopped run goes on."""

    def __init__(self) -> None:
        super().__init__(filename="last", save_top_k=1, save_on_train_epoch_end=True, enable_version_counter=False)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to take over: the next epoch replaces the file."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, written atomically and read with ``weights_only=True``."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        try:
            with atomic_path(path) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
            raise MedtrainError(
                f"cannot write the checkpoint {path}: {reason}; free some space, then resume"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return dict(load(path, map_location or "cpu"))


def load(path: Any, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint of plain values and tensors.

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
