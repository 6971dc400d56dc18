"""Every shipped option trains for a couple of batches through the real command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from medtrain.config import search
from tests.integration.conftest import TINY, Ran

# groups whose options are seen to train here; data, task and hardware options have tests of their own
GROUPS = (
    "model",
    "transfer",
    "loss",
    "sampler",
    "augment",
    "optimizer",
    "scheduler",
    "callbacks",
    "logger",
    "eval",
    "experiment",
)
LARGE = {("model", "faster_rcnn"), ("model", "retinanet"), ("model", "fcos")}
OPTIONS = [
    pytest.param(group, name, id=f"{group}={name}", marks=[pytest.mark.slow] * ((group, name) in LARGE))
    for group in GROUPS
    for name in search.option_files().get(group, {})
]
BOXES = [word for word in TINY if not word.startswith(("model=", "data.image_size"))] + [
    "task=lesion_det", "data.image_size=64", "model=yolo"
]  # fmt: skip


def words_for(group: str, option: str) -> list[str]:
    """A training for this option: of its kind of task, and with the network that its loss belongs to."""
    node = yaml.safe_load(search.option_files()[group][option].read_text())
    boxes = node.get("kind") == "boxes" or (group, option) == ("eval", "boxes")
    words = [word for word in (BOXES if boxes else TINY) if not word.startswith(f"{group}=")]
    return words + ["model=faster_rcnn_mobilenet"] * ((group, option) == ("loss", "own"))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_trains(group: str, option: str, medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    words = words_for(group, option)
    words += [f"{group}={option}", "trainer.limit_train_batches=2", "hydra.run.dir=run"]
    if (group, option) == ("model", "custom"):
        words += ["model._target_=torchvision.models.mobilenet_v3_small"]
    ran = medtrain(*words)
    assert ran.code == 0, ran.err
    assert json.loads((folder / "run" / "run.json").read_text())["status"] == "finished"
    assert (folder / "run" / "report.html").is_file()


def test_any_timm_model(medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    pytest.importorskip("timm")
    words = [word for word in TINY if not word.startswith("model=")]
    words += ["model=custom", "model._target_=timm.create_model", "+model.model_name=resnet10t", "hydra.run.dir=run"]
    ran = medtrain(*words, "trainer.limit_train_batches=2")
    assert ran.code == 0, ran.err
    assert medtrain("test", "run=run").code == 0
