"""Trainings on features: an `encoder` before pictures or volumes makes bags of them, from which a probe learns.

Slides and bags are trained so anyway. Here is what else follows in a configuration, so that a saved one says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from medtrain.config import search
from medtrain.core.errors import UsageError
from medtrain.data.source import sources
from medtrain.io.yaml_file import read_yaml

KIND = "bag"  # of networks that learn from features
SLICES = {"classification": "probe"}  # of a task on cases themselves, and on their features


def on_features(cfg: Mapping[str, Any] | DictConfig) -> bool:
    """Tell whether cases become features before a network sees them, which an encoder node alone makes them."""
    source = sources().get(str((cfg.get("data") or {}).get("name")))
    return source is not None and source.features_with(cfg.get("encoder"))


def settle(cfg: DictConfig) -> None:
    """Name the slice of the task that learns from features, and no augmentation, as pixels are seen but once.

    Raises:
        UsageError: the task has no such slice, or mixes pixels.
    """
    back = {probe: whole for whole, probe in SLICES.items()}
    own = str(cfg.task.get("slice"))
    whole = back.get(own, own)
    with open_dict(cfg):
        if not on_features(cfg):
            if cfg.get("encoder") and cfg.task.get("kind") != KIND:
                raise UsageError(f"encoder=: task={cfg.task.name} doesn't learn from features; leave it out")
            cfg.task.slice = whole
            return
        if whole not in SLICES:
            raise UsageError(f"encoder=: task={cfg.task.name} doesn't learn from features; leave it out")
        if cfg.task.get("mixup"):
            raise UsageError(
                f"task.mixup={cfg.task.mixup}: features are computed once, of whole pictures; leave it or encoder= out"
            )
        cfg.task.slice = SLICES[whole]
        cfg.augment = OmegaConf.create(read_yaml(search.packaged_folder() / "augment" / "none.yaml"))
