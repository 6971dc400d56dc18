"""plan by the command: for each kind of data an experiment that trains, and a forecast of a few measured steps."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from medtrain.data.phantom.xray import make_phantom_xray
from tests.data.boxes import forty, make_coco
from tests.integration.conftest import TINIES, Ran

DATA = {"boxes": "phantom_lesion", "bag": "phantom_slide", "image": "phantom_xray", "volume": "phantom_volume"}
NOT_PLANNED = ("task=", "trainer.max_epochs", "eval.bootstrap")


@pytest.mark.parametrize("kind", DATA)
def test_an_experiment_of_each_kind_of_data(medtrain: Callable[..., Ran], folder: Path, kind: str) -> None:
    words = [word for word in TINIES[kind] if not word.startswith(NOT_PLANNED)]
    ran = medtrain("plan", f"data={DATA[kind]}", *words, "plan.steps=2", "trainer=cpu")
    assert ran.code == 0, ran.out + ran.err
    assert "forecast: " in ran.out and " a step, " in ran.out and f"experiment={DATA[kind]}" in ran.out
    file = folder / "medtrain_configs" / "experiment" / f"{DATA[kind]}.yaml"
    content = yaml.safe_load(file.read_text())
    assert {"override /data": DATA[kind]} in content["defaults"]
    assert not list(folder.glob("outputs/**/run.json"))  # nothing was trained, nothing tested
    composed = medtrain(f"experiment={DATA[kind]}", "--cfg", "job")
    assert composed.code == 0, composed.err
    cfg = yaml.safe_load(composed.out)
    for word in words:
        key, _, value = word.partition("=")
        if key.startswith("data."):
            node = cfg
            for name in key.split("."):
                node = node[name]
            assert node == yaml.safe_load(value), word  # what the person has set stays
    again = medtrain("plan", f"data={DATA[kind]}", *words)
    assert again.code == 2 and "exists already" in again.err


def test_what_is_planned_trains(medtrain: Callable[..., Ran], folder: Path) -> None:
    words = [word for word in TINIES["image"] if not word.startswith(NOT_PLANNED)]
    assert (
        medtrain(
            "plan",
            "data=phantom_xray",
            "data.folds=null",
            *words,
            "plan.steps=2",
            "output=medtrain_configs/experiment/p.yaml",
        ).code
        == 0
    )
    ran = medtrain("experiment=p", "data.folds=null", "trainer.max_epochs=1", "eval.bootstrap=20", "hydra.run.dir=run")
    assert ran.code == 0, ran.out + ran.err
    assert (folder / "run" / "report.html").is_file()


def test_the_numbers_of_reasons_are_those_of_the_fold_that_trains(medtrain: Callable[..., Ran], folder: Path) -> None:
    words = [word for word in TINIES["image"] if not word.startswith((*NOT_PLANNED, "data.batch_size"))]
    ran = medtrain("plan", "data=phantom_xray", *words, "plan.steps=2")
    assert ran.code == 0, ran.err
    text = (folder / "medtrain_configs" / "experiment" / "phantom_xray.yaml").read_text()
    steps = re.search(r"data.batch_size: \d+: (\d+) steps an epoch", text)
    assert "fold 0 of 5: train" in ran.out and steps and f" a step, {steps[1]} steps an epoch" in ran.out


def test_data_that_training_would_refuse_are_not_planned(medtrain: Callable[..., Ran], folder: Path) -> None:
    table = pd.DataFrame({"path": [f"{n}.png" for n in range(60)], "label": [0, 1] * 30})
    table.to_csv(folder / "t.csv", index=False)
    ran = medtrain("plan", "data=image_table", "data.table=t.csv")
    assert ran.code == 1 and "60 missing" in ran.err and not (folder / "medtrain_configs").exists()
    whole = Path(ran.err.rpartition("the whole list: ")[2].strip())
    assert "data.on_bad=skip" in ran.err and "data.leakage" not in ran.err
    assert len(pd.read_csv(whole)) == 60  # it is still there
    shutil.rmtree(whole.parent)


def test_what_several_processes_will_train_is_measured_in_one(medtrain: Callable[..., Ran], folder: Path) -> None:
    words = [word for word in TINIES["image"] if not word.startswith((*NOT_PLANNED, "trainer", "data.batch_size"))]
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    ran = medtrain("plan", "data=phantom_xray", *words, *two, "plan.steps=2")
    assert ran.code == 0, ran.out + ran.err
    text = (folder / "medtrain_configs" / "experiment" / "phantom_xray.yaml").read_text()
    assert "for each of 2 processes" in text and "measured in one of 2 processes" in ran.out
    content = yaml.safe_load(text)
    assert {"override /trainer": "ddp"} in content["defaults"] and content["trainer"]["devices"] == 2


def test_pictures_are_found_from_the_folder_in_which_one_stands(medtrain: Callable[..., Ran], folder: Path) -> None:
    make_coco(folder / "films", forty())
    ran = medtrain("plan", "data=coco", "data.root=films", "data.image_size=64", "data.num_workers=0", "plan.steps=2")
    assert ran.code == 0 and "data=coco holds images with boxes" in ran.out, ran.out + ran.err
    planned = yaml.safe_load((folder / "medtrain_configs" / "experiment" / "films.yaml").read_text())
    assert planned["data"]["root"] == str(folder / "films")


def test_what_a_frozen_network_sees_is_probed(medtrain: Callable[..., Ran], folder: Path) -> None:
    words = [word for word in TINIES["image"] if not word.startswith((*NOT_PLANNED, "data.batch_size"))]
    words = [word for word in words if not word.startswith(("model", "augment"))]
    ran = medtrain("plan", "data=phantom_xray", *words, "encoder=descriptor", "plan.steps=2")
    assert ran.code == 0, ran.out + ran.err
    text = (folder / "medtrain_configs" / "experiment" / "phantom_xray.yaml").read_text()
    assert "# model: linear_probe: features of a frozen network, 35 images to train on" in text and "tta" not in text


def test_a_table_of_masks_without_labels_is_told_its_task(medtrain: Callable[..., Ran], folder: Path) -> None:
    pd.DataFrame({"image": ["a.nii.gz"], "mask": ["b.nii.gz"]}).to_csv(folder / "t.csv", index=False)
    ran = medtrain("plan", "data=volume_table", "data.table=t.csv")
    assert ran.code == 2 and "the masks in 'mask' are learned by task=volume_seg" in ran.err


def test_what_to_do_about_patients_at_several_sites_is_said(medtrain: Callable[..., Ran], folder: Path) -> None:
    make_phantom_xray(folder / "films", patients=24, image_size=32, seed=0)
    table = pd.read_csv(folder / "films" / "table.csv")
    table["site"] = ["north", "south"] * (len(table) // 2) + ["north"] * (len(table) % 2)
    table.to_csv(folder / "films" / "sites.csv", index=False)
    ran = medtrain("plan", "data=image_table", "data.table=films/sites.csv", "data.split_by=site")
    assert ran.code == 1 and " patient_leak)" in ran.err and "data.on_bad" not in ran.err
    assert "data.leakage=drop takes leaked rows out of train and val" in ran.err


@pytest.mark.parametrize("loss", ["mse", "gaussian"])
def test_quantities_are_inspected_and_planned(medtrain: Callable[..., Ran], folder: Path, loss: str) -> None:
    words = [word for word in TINIES["volume"] if not word.startswith(NOT_PLANNED)]
    words += ["data=phantom_volume", "data.target=value", "data.columns.label=diameter_mm"]
    assert medtrain("inspect", "task=volume_cls", *words).code == 0
    ran = medtrain("plan", *words, f"loss={loss}", "plan.steps=2")
    assert ran.code == 0, ran.err
    assert "forecast: " in ran.out and "eval.threshold" not in ran.out and "AUROC" not in ran.out


def test_grades_are_planned_with_their_own_outputs(medtrain: Callable[..., Ran], folder: Path) -> None:
    words = [word for word in TINIES["volume"] if not word.startswith(NOT_PLANNED)]
    ran = medtrain("plan", "data=phantom_volume", *words, "data.target=ordinal", "loss=coral", "plan.steps=2")
    assert ran.code == 0, ran.err
    assert "forecast: " in ran.out and "eval.threshold" not in ran.out
