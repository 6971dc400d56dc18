"""Folds of a segmentation of CT: each is planned by itself, and the ensemble lets each see by its own. A killed run."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from tests import preloaded
from tests.integration.conftest import TINY_MASKS, Ran
from tests.integration.test_runs import same, weights


def test_folds_of_other_intensities_are_one_ensemble(
    medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    swept = medtrain("-m", *TINY_MASKS, "data.folds=3", "data.fold=0,1,2", "hydra.sweep.dir=cv")
    assert swept.code == 0, swept.out + swept.err
    plans = [json.loads((folder / "cv" / str(n) / "run.json").read_text())["spec"] for n in range(3)]
    assert len({str(plan["intensity"]) for plan in plans}) == 3  # of CT: what masks mark in the training cases
    fields = json.loads((folder / "cv" / "1" / "run.json").read_text())
    fields["spec"]["directed"] = [1]  # as a fold plans whose cases show an order that those of others don't
    (folder / "cv" / "1" / "run.json").write_text(json.dumps(fields))
    for n, (every, largest) in enumerate([(0.5, 0.6), (0.5, 0.7), (0.6, 0.5)]):  # what validation found in each fold
        file = folder / "cv" / str(n) / "decision.json"
        found = json.loads(file.read_text()) | {"components": {"nodule": {"all": every, "largest": largest}}}
        file.write_text(json.dumps(found))
    ran = medtrain("ensemble", "runs=cv/[012]", "hydra.run.dir=all")
    assert ran.code == 0, ran.out + ran.err
    metrics = json.loads((folder / "all" / "test_metrics.json").read_text())
    tables = [pd.read_csv(folder / "cv" / str(n) / "test_predictions.csv") for n in range(3)]
    pooled = pd.concat(tables)
    assert metrics["n_cases"] == len(pooled) == pooled["case"].nunique()
    assert metrics["metrics"]["dice"]["value"] == pytest.approx(pooled["dice_nodule"].mean())
    held = torch.load(folder / "all" / "checkpoints" / "best.ckpt", weights_only=True)["medtrain"]
    assert [spec["intensity"] for spec in held["member_specs"]] == [plan["intensity"] for plan in plans]
    assert held["spec"]["directed"] == [1]  # no member is shown mirror images of that axis

    tested = medtrain("test", "run=all", "data.phantom_seed=9", "data.patients=10", "name=outside")
    assert tested.code == 0, tested.out + tested.err
    outside = folder / "all" / "test_outside"
    table = pd.read_csv(outside / "test_predictions.csv")
    assert len(table) == json.loads((outside / "test_metrics.json").read_text())["n_cases"] > 0
    assert all((outside / mask).is_file() for mask in table["mask"])
    assert np.isfinite(table["volume_ml_nodule"]).all()

    decided = json.loads((folder / "all" / "decision.json").read_text())["components"]["nodule"]
    assert decided == pytest.approx({"all": 1.6 / 3, "largest": 0.6})
    pytest.importorskip("onnxruntime")
    exported = medtrain("export", "run=all", "output=made", "export.cases=2")
    assert exported.code == 0 and "voxels have another label" in exported.out, exported.err
    facts = json.loads((folder / "made" / "model.json").read_text())
    assert facts["input"]["largest"] == [0] and len(facts["networks"]) == 3
    card = (folder / "made" / "model_card.md").read_text()
    assert "of nodule only the largest connected piece counts" in card and "none: probabilities are the network" in card
    sources = sorted(phantom_cache.rglob("images/*.nii.gz"))[:3]
    pd.DataFrame({"path": map(str, sources)}).to_csv(folder / "inputs.csv", index=False)
    for way, more in (("made", ()), ("all", ()), ("all", ("eval.largest_component=false",))):
        name = f"{way}{len(more)}"
        ran = medtrain("predict", f"run={way}", "input=inputs.csv", f"output={name}.csv", *more)
        assert ran.code == 0, ran.err
    labels = {
        name: [np.asarray(nib.load(folder / mask).dataobj) for mask in pd.read_csv(folder / f"{name}.csv")["mask"]]
        for name in ("made0", "all0", "all1")
    }
    counts = {name: [ndimage.label(label, np.ones((3, 3, 3)))[1] for label in of] for name, of in labels.items()}
    assert max(counts["all0"]) == 1 < max(counts["all1"])
    for one, other in zip(labels["made0"], labels["all0"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_channels_along_a_fourth_axis(medtrain: Callable[..., Ran], folder: Path) -> None:
    draw, rows = np.random.default_rng(0), []
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    for n in range(10):
        mask = np.zeros((16, 18, 12), np.uint8)
        mask[4:9, 5:11, 3:8] = 1
        image = draw.normal(100, 10, (*mask.shape, 2)) + np.stack([0 * mask, 80 * mask], -1)
        nib.save(nib.Nifti1Image(image.astype(np.float32), affine), folder / f"i{n}.nii.gz")
        nib.save(nib.Nifti1Image(mask, affine), folder / f"m{n}.nii.gz")
        rows.append({"image": f"i{n}.nii.gz", "mask": f"m{n}.nii.gz", "patient": f"p{n}"})
    pd.DataFrame(rows).to_csv(folder / "scans.csv", index=False)
    words = [
        "task=volume_seg",
        "data=volume_table",
        "data.table=scans.csv",
        "data.patch_size=8",
        "data.classes=[block]",
    ]
    small = ["model.width=4", "trainer=cpu", "trainer.max_epochs=1", "task.mirror=false", "eval.bootstrap=0"]
    ran = medtrain(*words, *small, "hydra.run.dir=run")
    assert ran.code == 0, ran.out + ran.err
    assert json.loads((folder / "run" / "run.json").read_text())["spec"]["channels"] == 2
    predicted = medtrain("predict", "run=run", "input=i0.nii.gz", "output=p.csv", "format=probabilities")
    assert predicted.code == 0, predicted.out + predicted.err
    label, image = nib.load(folder / pd.read_csv(folder / "p.csv")["mask"][0]), nib.load(folder / "i0.nii.gz")
    assert label.shape == image.shape[:3] and np.array_equal(label.affine, image.affine)
    (probs,) = (folder / "p_probabilities").iterdir()
    assert nib.load(probs).shape == label.shape
    refused = medtrain("predict", "run=run", "input=i0.nii.gz", "output=q.csv", "format=dicom_seg")
    assert refused.code == 2 and "1 of 1 inputs are none: i0" in refused.err and not (folder / "q.csv").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_result(
    installed: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    words = [word for word in TINY_MASKS if not word.startswith("trainer.max_epochs")] + ["trainer.max_epochs=3"]
    assert installed(*words, "hydra.run.dir=whole").code == 0
    process = preloaded.start(*words, "hydra.run.dir=killed")
    while not (folder / "killed" / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -9
    assert not (folder / "killed" / "test_metrics.json").exists()
    ran = installed("resume=killed")
    assert ran.code == 0 and "going on after epoch" in ran.out, ran.err
    for name in ("last", "best"):
        assert same(weights(folder / "whole", name), weights(folder / "killed", name))
    for name in ("test_predictions.csv", "val_predictions.csv", "splits.csv"):
        assert (folder / "whole" / name).read_text() == (folder / "killed" / name).read_text()
    for mask in (folder / "whole" / "masks").iterdir():
        one, other = (nib.load(folder / run / "masks" / mask.name).get_fdata() for run in ("whole", "killed"))
        np.testing.assert_array_equal(one, other)
