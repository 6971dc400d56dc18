"""Every shipped option trains for a couple of batches through the real command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from medtrain.config import search
from tests.integration.conftest import TINIES, TINY, Ran

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
QUANTITIES = ["data.target=value", "data.columns.label=diameter_mm"]  # that the phantom of volumes has
GRADES = ["data.target=ordinal"]
TARGETS = dict.fromkeys(("mse", "mae", "huber", "gaussian"), QUANTITIES) | dict.fromkeys(("coral", "corn"), GRADES)
OF_TIMES = {("loss", "cox"), ("loss", "hazards")}  # tests/integration/test_event_runs.py trains on both
OPTIONS = [
    pytest.param(group, name, id=f"{group}={name}", marks=[pytest.mark.slow] * ((group, name) in LARGE))
    for group in GROUPS
    for name in search.option_files().get(group, {})
    if (group, name) not in OF_TIMES
]
REAL = {  # experiments on real data, and what makes them small
    "lidc_nodules": [
        "data.table={}/lidc_nodules/nodules.csv",
        "data.filter=patient < 'LIDC-IDRI-0040'",
        "trainer.max_epochs=1",
        "model.width=8",
        "eval.bootstrap=50",
    ],
    "bccd": [
        "data.root={}/bccd/BCCD",
        "data.image_size=64",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "eval.tta=0",
        "eval.bootstrap=50",
    ],
}

# of a family one trains as it is shipped, the others with a part of the cells or channels
SMALLER = {
    "model.stem=standard": ("resnet34", "resnet50", "resnet101", "densenet169", "densenet201", "efficientnet_b3"),
    "model.width=8": ("resnet18_3d", "resnet34_3d", "resnet50_3d"),
}


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_trains(group: str, option: str, medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    node = yaml.safe_load(search.option_files()[group][option].read_text())
    kind = node.get("kind") or ("boxes" if option == "boxes" else "image")
    more = TARGETS.get(option, []) if group == "loss" else []
    kind = "volume" if more else kind
    tiny = [] if option in REAL else TINIES[kind] + more
    words = [word for word in tiny if not word.startswith((f"{group}=", f"{group}."))]
    words += [word for word, options in SMALLER.items() if group == "model" and option in options]
    if kind == "image" and tiny:
        words += ["data.batch_size=4"]  # networks of all sizes: a couple of batches are a couple
    words += [f"{group}={option}", "trainer.limit_train_batches=2", "hydra.run.dir=run"]
    if (group, option) == ("model", "custom"):
        words += ["model._target_=torchvision.models.mobilenet_v3_small"]
    if (group, option) == ("loss", "own"):
        words = [word for word in words if not word.startswith("model")]  # the default brings its own
    if option in REAL:
        if not os.environ.get("MEDTRAIN_TEST_DATA"):
            pytest.skip("MEDTRAIN_TEST_DATA is not set: no real data here")
        words += [word.format(os.environ["MEDTRAIN_TEST_DATA"]) for word in REAL[option]]
    words += ["data.tiles=true"] * (option == "end_to_end_mil")
    ran = medtrain(*words)
    assert ran.code == 0, ran.err
    assert json.loads((folder / "run" / "run.json").read_text())["status"] == "finished"
    assert (folder / "run" / "report.html").is_file()


def test_any_timm_model(medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    pytest.importorskip("timm")
    words = [word for word in TINY if not word.startswith("model")]
    words += ["model=custom", "model._target_=timm.create_model", "+model.model_name=resnet10t", "hydra.run.dir=run"]
    ran = medtrain(*words, "trainer.limit_train_batches=2")
    assert ran.code == 0, ran.err
    assert medtrain("test", "run=run").code == 0
