"""A task is found by the name of its slice, and refuses what it can't do before any data are read."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from medtrain.command.build import check_dims
from medtrain.config.migrate import migrate
from medtrain.core.errors import UsageError
from medtrain.target import DataSpec
from medtrain.task import task_of
from medtrain.task.base import Task

EVAL = {"tta": 0, "mc_dropout": 0, "hit": "iou", "iou": 0.5}
VOLUMES = {"name": "volume_cls", "dims": 3, "pool": "attention", "mixup": 0.0}
PATCHES = {"patches_per_volume": 4, "patch_label": "case"}


@pytest.mark.parametrize(
    ("name", "cls"), [("classification", "Classification"), ("mil", "MultipleInstance"), ("detection", "Detection")]
)
def test_slices_are_found_by_name(name: str, cls: str) -> None:
    assert task_of(name).__name__ == cls and issubclass(task_of(name), Task)


@pytest.mark.parametrize("name", ["clasification", "base", "os.path", "../etc"])
def test_what_is_no_slice_says_so(name: str) -> None:
    with pytest.raises(UsageError, match=r"task\.slice=.*no such folder of medtrain/task"):
        task_of(name)


def test_usual_specs_before_any_data() -> None:
    images = task_of("classification").usual_spec({"dims": 2}, {"image_size": [32, 48], "channels": 3})
    assert images == DataSpec.of("binary", ("0", "1"), 3, (32, 48))
    assert task_of("classification").usual_spec({"dims": 3}, {"patch_size": 24}).size == (24, 24, 24)
    assert task_of("mil").usual_spec({}, {}).dims == 0 and task_of("mil").usual_spec(
        {}, {"tiles": True, "tile_px": 64}
    ).size == (64, 64)
    boxes = task_of("detection").usual_spec({}, {"image_size": 512, "tile": 256})
    assert boxes.size == (256, 256) and boxes.target.forms == {"boxes"}


@pytest.mark.parametrize(
    ("changed", "data", "message"),
    [
        ({"dims": 2}, {}, "weighs the patches of a volume"),
        ({"mixup": 0.2}, {}, "take one of them"),
        ({}, {"patch_label": "mask"}, r"data\.patch_label=case"),
        ({}, {"patches_per_volume": 1}, "several patches of a case"),
    ],
)
def test_attention_over_patches_needs_patches(changed: dict, data: dict, message: str) -> None:
    task_of("classification").check(VOLUMES, PATCHES)
    with pytest.raises(UsageError, match=message):
        task_of("classification").check(VOLUMES | changed, PATCHES | data)


def test_what_a_task_does_without_is_refused() -> None:
    boxes = {"name": "lesion_det", "merge": 0.5}
    spec = task_of("detection").usual_spec(boxes, {})
    usual = {"merge": 0.5, "hit": "iou", "iou": 0.5, "views": None}
    assert task_of("detection").options(boxes, EVAL, {}, spec) == usual
    with pytest.raises(UsageError, match=r"eval\.mc_dropout=8: task=lesion_det does without"):
        task_of("detection").options(boxes, EVAL | {"mc_dropout": 8}, {}, spec)


def test_cases_of_other_dimensions_are_refused() -> None:
    cfg = OmegaConf.create({"task": VOLUMES, "data": {"name": "medmnist"}})
    check_dims(cfg, DataSpec.of("binary", ("0", "1"), 1, (8, 8, 8)))
    with pytest.raises(UsageError, match="data=medmnist holds images, task=volume_cls is for volumes"):
        check_dims(cfg, DataSpec.of("binary", ("0", "1"), 1, (8, 8)))


@pytest.mark.parametrize(
    ("kind", "added"),
    [
        ("image", {"slice": "classification", "dims": 2}),
        ("volume", {"slice": "classification", "dims": 3}),
        ("bag", {"slice": "mil"}),
        ("boxes", {"slice": "detection"}),
    ],
)
def test_configurations_of_0_1_name_their_slice(kind: str, added: dict[str, Any]) -> None:
    saved: dict[str, Any] = {"verb": "train", "task": {"name": "t", "kind": kind}}
    lacking = [f"task.{key}" for key in added]
    assert migrate(saved, [*lacking, "task.name_of_a_key_that_0_1_had"]) == lacking
    assert saved["task"] == {"name": "t", "kind": kind} | added
