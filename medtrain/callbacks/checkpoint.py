"""Checkpoints that are whole or not there: written beside, synced, renamed.

Lightning writes through a temporary file of the system's folder, which may lie on another disk; moving it from
there is a copy that a kill can cut short.
"""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from medtrain.core.errors import MedtrainError
from medtrain.io.files import atomic_path


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, written atomically and read with ``weights_only=True``."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        try:
            with atomic_path(path) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
            raise MedtrainError(f"cannot write the checkpoint {path}: {reason}; free some space, then resume") from error

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
