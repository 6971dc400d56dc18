"""Imbalance through the real command: the record, going on, two processes, and losses that only training needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from medtrain.command.opening import tell_imbalance
from medtrain.data.phantom.xray import phantom_folder
from medtrain.report import imbalance
from medtrain.target import DataSpec
from tests.integration.conftest import TINY, Ran

BALANCED = [
    "sampler=balanced",
    "sampler.length=32",
    "loss=balanced_cross_entropy",
    "data.columns.label=[opacity,nodule]",
]


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
    return state


def test_a_stopped_balanced_run_goes_on_to_the_same_weights(
    medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    words = [*[w for w in TINY if "max_epochs" not in w], *BALANCED, "scheduler=constant", "augment=light"]
    assert medtrain(*words, "trainer.max_epochs=2", "hydra.run.dir=whole").code == 0
    assert medtrain(*words, "trainer.max_epochs=1", "hydra.run.dir=part").code == 0
    run = json.loads((folder / "part" / "run.json").read_text())
    (folder / "part" / "run.json").write_text(json.dumps(run | {"status": "interrupted"}))
    config = (folder / "part" / "config.yaml").read_text()
    (folder / "part" / "config.yaml").write_text(config.replace("max_epochs: 1", "max_epochs: 2"))
    ran = medtrain("resume=part")
    assert ran.code == 0 and "going on after epoch 1" in ran.out, ran.err
    whole, part = weights(folder / "whole"), weights(folder / "part")
    assert whole.keys() == part.keys() and all(torch.equal(whole[k], part[k]) for k in whole)
    assert not any(name.startswith("loss.") for name in whole)


def test_the_opening_and_the_record_tell_the_imbalance(
    medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    table = phantom_folder({"patients": 24, "image_size": 32}) / "table.csv"
    films = pd.read_csv(table)
    films["rare"] = 0
    films.loc[films.groupby("patient").head(1).index[:6], "rare"] = 1
    films["split"] = "train"
    firsts = films.index[films["rare"] == 1]
    for split, patients in (("val", films.loc[firsts[:2], "patient"]), ("test", films.loc[firsts[2:4], "patient"])):
        films.loc[films["patient"].isin(patients), "split"] = split
    films.loc[films["patient"].isin(films["patient"].unique()[-4:-2]), "split"] = "val"
    films.loc[films["patient"].isin(films["patient"].unique()[-2:]), "split"] = "test"
    films.to_csv(folder / "rare.csv", index=False)
    words = [word for word in TINY if not word.startswith("data.patients")]
    words += ["data=image_table", "data.table=rare.csv", f"data.root={table.parent}", "data.columns.label=rare"]
    ran = medtrain(*words, "data.num_workers=0", "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    recorded = json.loads((folder / "run" / "run.json").read_text())["imbalance"]
    train = films[films["split"] == "train"]
    assert recorded["train"]["1"]["images"] == train["rare"].sum() == 2
    assert recorded["train"]["0"]["patients"] == train.loc[train["rare"] == 0, "patient"].nunique()
    factor = (train["rare"] == 0).sum() / 2
    assert recorded["train"]["1"]["factor"] == round(factor, 1) >= 10
    assert f"imbalance factor {factor:,.0f}: sampler=balanced or loss=balanced_cross_entropy" in ran.out
    assert "images (patients) of each class" in ran.out


@pytest.mark.parametrize(
    ("loss", "sampler", "hints"),
    [("cross_entropy", "Shuffle", True), ("focal", "Shuffle", False), ("cross_entropy", "Weighted", False)],
)
def test_the_hint_is_for_those_who_do_nothing(
    loss: str, sampler: str, hints: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = {"loss": {"_target_": f"medtrain.loss.{loss}"}, "sampler": {"_target_": f"medtrain.sampler.{sampler}"}}
    spec = DataSpec.of("multiclass", ("a", "b", "c"), 1)
    found = imbalance(spec, np.repeat([0, 1], [40, 4]), np.arange(44), np.full(44, "train"))
    tell_imbalance(OmegaConf.create(targets), spec, found)
    out = capsys.readouterr().out
    assert ("imbalance factor 10: " in out) is hints
    assert "warning: no image of the training split has c" in out


def test_two_processes_with_balanced_batches(installed: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    two = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "hydra.run.dir=run"]
    ran = installed(*[word for word in TINY if word != "trainer=cpu"], *BALANCED, *two)
    assert ran.code == 0, ran.err
    run = json.loads((folder / "run" / "run.json").read_text())
    assert run["status"] == "finished" and run["world_size"] == 2


def test_a_loss_with_weights_of_its_own_is_not_needed_to_test(
    medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    (folder / "mylosses.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Scaled(nn.Module):\n"
        "    def __init__(self, counts):\n"
        "        super().__init__()\n"
        "        self.scale = nn.Parameter(torch.tensor(float(counts.positive[-1])))\n"
        "    def forward(self, logits, y):\n"
        "        return nn.functional.binary_cross_entropy_with_logits(logits * self.scale.clamp(1, 2), y)\n"
    )
    words = ["loss._target_=mylosses.Scaled", "~loss.label_smoothing", "trust=[mylosses]"]
    ran = medtrain(*TINY, *words, "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    assert "loss.scale" in weights(folder / "run")
    ran = medtrain("test", "run=run", "name=again", "trust=[mylosses]")
    assert ran.code == 0, ran.err


def test_what_cannot_be_balanced_is_refused_by_name(
    medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    ran = medtrain(*TINY, "sampler=balanced", "data.columns.label=finding", "data.batch_size=2")
    assert ran.code == 2 and "a batch of 2 can't hold all 3 classes" in ran.err
    ran = medtrain(*TINY, "loss=balanced_cross_entropy", "loss.weights=inverted")
    assert ran.code == 2 and "loss.weights='inverted': it can be inverse, sqrt_inverse, effective_number" in ran.err
    ran = medtrain(*TINY, "loss=focal", "loss.alpha=[0.1,0.2,0.3]")
    assert ran.code == 2 and "one number for each of 0, 1" in ran.err
    ran = medtrain(*TINY, "loss=focal", "loss.gamma=-1", "loss.alpha=true")
    assert ran.code == 2 and "loss.gamma" in ran.err and "loss.alpha" in ran.err
