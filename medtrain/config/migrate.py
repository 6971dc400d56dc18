"""Configurations that older versions saved, made readable for this one.

Version 0.1 found a task by the kind of its cases; from 0.2 on the task names its slice of `medtrain.task`.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, open_dict

SLICES: dict[str, dict[str, Any]] = {
    "image": {"slice": "classification", "dims": 2},
    "volume": {"slice": "classification", "dims": 3},
    "bag": {"slice": "mil"},
    "boxes": {"slice": "detection"},
}
"""The slice and dimensions of each kind of cases that version 0.1 knew."""


def migrate(saved: DictConfig) -> DictConfig:
    """Add, in place, the keys that a run of an older version could not have saved."""
    with open_dict(saved):
        for key, value in SLICES.get(str(saved.task.get("kind")), {}).items():
            if key not in saved.task:
                saved.task[key] = value
    return saved
