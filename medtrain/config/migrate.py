"""Configurations that older versions saved, made readable for this one.

Version 0.1 found a task by the kind of its cases; from 0.2 on the task names its slice of `medtrain.task`. Keys that
came later mean, in a run that lacks them, what that version did.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

SLICES: dict[str, dict[str, Any]] = {
    "image": {"slice": "classification", "dims": 2},
    "volume": {"slice": "classification", "dims": 3},
    "bag": {"slice": "mil"},
    "boxes": {"slice": "detection"},
}
"""The slice and dimensions of each kind of cases that version 0.1 knew."""

SINCE_0_1: dict[str, Any] = {
    "data.target": "auto",
    "data.unit_name": None,
    "data.val_after": None,
    **dict.fromkeys(("data.covariates", "data.covariate_kinds", "data.control")),
    "data.columns.time": None,
    "data.columns.event": None,
    "data.merge_case": False,
    "data.columns.reader": None,
    "data.readers": None,
    "data.consensus": 2,
    "data.tile_whole": False,
    "data.tile_edge": None,
    "data.slides": None,
    "data.slide_table": None,
    "data.columns.slide": None,
    "data.tissue": None,
    "data.tissue_labels": None,
    "data.tissue_missing": "detect",
    "data.columns.tissue": "none",
    "data.columns.mpp": "none",
    "data.columns.magnification": "none",
    "data.ink": True,
    "data.beyond": 0.0,
    "data.images_per_case": None,
    "eval.hit": "iou",
    "eval.patients": "mean",
    "eval.margin": None,
    "eval.horizons": None,
    "eval.test": True,
    "explain.occlusion_size": None,
    "explain.occlusion_stride": None,
    "explain.occlusion_fill": "mean",
    "export": {"precision": "fp32", "opset": None, "cases": 64},
    "plan": {"hours": 1.0, "steps": 20},
}
"""Keys that 0.1 did not have, with the values that come to what it did; not always those that are packaged today."""


def migrate(plain: dict[str, Any], lacking: Iterable[str]) -> list[str]:
    """Add, in place, keys that a run of an older version could not have saved; returns those, dots between.

    Args:
        plain: a saved configuration.
        lacking: the keys that it should have.
    """
    task = plain.get("task") or {}
    later = SINCE_0_1 | {f"task.{key}": value for key, value in SLICES.get(str(task.get("kind")), {}).items()}
    added = [key for key in lacking if key in later]
    for key in added:
        *nodes, name = key.split(".")
        place = plain
        for node in nodes:
            place = place[node]
        place[name] = deepcopy(later[key])
    if isinstance(plain.get("model"), dict):
        plain["model"].setdefault("fusion", "concat")  # idle without columns, which older runs have none of
    return added
