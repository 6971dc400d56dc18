"""Probes on a frozen encoder's features of pictures and volumes: the life of such a run, and sweeps over encoders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image

from tests.integration.conftest import Ran

SMALL = ["encoder=descriptor", "trainer=cpu", "trainer.max_epochs=2", "eval.bootstrap=20", "optimizer.lr=0.01"]
FILMS = ["task=xray_cls", "data.patients=24", "data.image_size=32", *SMALL]


def nifti(file: Path) -> Path:
    """Write a volume of noise, 4 mm a voxel."""
    voxels = np.random.default_rng(0).normal(0, 300, (32, 32, 16)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([4.0, 4.0, 4.0, 1.0])), file)
    return file


def test_the_life_of_a_probe(medtrain: Callable[..., Ran], folder: Path) -> None:
    cache = f"data.cache_dir={folder / 'cache'}"  # other tests have features of the same films
    first = medtrain("train", *FILMS, cache, "model=linear_probe", "hydra.run.dir=one")
    assert first.code == 0, first.err
    assert "encoder: descriptor (colour and texture, not trained), 46 features of each of" in first.out
    assert "kept, so not augmented" in first.out and " 0 images encoded now" not in first.out
    second = medtrain("train", *FILMS, cache, "model=mlp_probe", "seed=1", "hydra.run.dir=two")
    assert " 0 images encoded now" in second.out  # another head costs no look at a picture
    saved = (folder / "one" / "config.yaml").read_text()
    assert "slice: probe" in saved and "medtrain.augment.Identity" in saved

    films = folder / "films"
    films.mkdir()
    for number in range(2):
        grey = np.random.default_rng(number).integers(0, 255, (40, 36)).astype(np.uint8)
        Image.fromarray(grey).save(films / f"{number}.png")
    ran = medtrain("predict", "run=one", "input=films", "output=films.csv")
    assert ran.code == 0, ran.err
    probs = pd.read_csv(folder / "films.csv").set_index("case")["prob_1"]
    ran = medtrain("explain", "run=one", "input=films", "output=maps", "explain.sanity=0")
    assert ran.code == 0, ran.err
    rows = pd.read_csv(folder / "maps" / "explain.csv").set_index("case")
    assert set(rows["method"]) == {"occlusion"} and len(list((folder / "maps" / "maps").glob("*.npy"))) == 2
    for case, row in rows.iterrows():
        prob = probs[case] if row["class"] == 1 else 1 - probs[case]
        assert abs(row["prob"] - prob) < 1e-5  # through the encoder as from the store
    refused = medtrain("explain", "run=one", "input=films", "output=other", "explain.method=gradcam")
    assert refused.code == 2 and "a probe on features has occlusion" in refused.err

    assert medtrain("test", "run=one", "eval.split=val").code == 0
    both = medtrain("ensemble", "runs=one,two", "hydra.run.dir=both")
    assert both.code == 0, both.err
    assert medtrain("predict", "run=both", "input=films", "output=both.csv").code == 0
    ran = medtrain("explain", "run=both", "input=films", "output=maps_of_both", "explain.sanity=0")
    assert ran.code == 0, ran.err
    compared = medtrain("compare", "one", "two")
    assert compared.code == 0 and "AUROC" in compared.out

    for words, text in (
        (["model=resnet18"], "model=resnet18 takes images, of which encoder= makes features: take model=linear_probe"),
        (["model=linear_probe", "task.mixup=0.2"], "features are computed once, of whole pictures"),
        (["model=linear_probe", "task.pool=max"], "task.pool=max: of features the network pools"),
        (["model=linear_probe", "eval.tta=2"], "eval.tta=2"),
    ):
        ran = medtrain("train", *FILMS, *words)
        assert ran.code == 2 and text in ran.err, ran.err
    ran = medtrain("train", "task=lesion_det", "encoder=descriptor", "data.patients=12")
    assert ran.code == 2 and "encoder" in ran.err


def test_weights_are_found_from_elsewhere_and_others_are_told(
    medtrain: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(seed: int) -> None:
        torch.manual_seed(seed)
        torch.save(torchvision.models.resnet18(weights=None).state_dict(), folder / "w.pth")

    write(0)
    words = [word for word in FILMS if not word.startswith("encoder=")] + ["encoder=torchvision", "encoder.size=32"]
    words += ["encoder.name=resnet18", "encoder.weights=w.pth", "data.patients=16", "model=linear_probe"]
    assert medtrain("train", *words, "hydra.run.dir=run").code == 0
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    ran = medtrain("test", "run=../run", "eval.split=val", "name=one")
    assert ran.code == 0 and "is now" not in ran.out, ran.err
    ran = medtrain("export", "run=../run", "output=made", "export.cases=4")
    assert ran.code == 0 and "0 decisions changed" in ran.out, ran.err
    write(1)
    ran = medtrain("test", "run=../run", "eval.split=val", "name=two")
    assert "was trained on features of an encoder" in ran.out and "put the file back" in ran.out


def test_several_encoders_side_by_side(medtrain: Callable[..., Ran], folder: Path) -> None:
    words = [word for word in FILMS if not word.startswith("encoder=")]
    words += ["model=linear_probe", "encoder.name=resnet18", "encoder.weights=none", "encoder.size=32"]
    ran = medtrain("-m", *words, "encoder=timm,torchvision", "hydra.sweep.dir=sweep", "data.patients=16")
    assert ran.code == 0, ran.err
    labels = [json.loads((folder / "sweep" / name / "run.json").read_text())["overrides"] for name in "01"]
    assert [next(word for word in own if word.startswith("encoder=")) for own in labels] == [
        "encoder=timm",
        "encoder=torchvision",
    ]
    both = medtrain("ensemble", "runs=sweep", "hydra.run.dir=both")
    assert both.code == 2 and "too different for one ensemble" in both.err and "encoder" in both.err
    compared = medtrain("compare", "sweep/0", "sweep/1")
    assert compared.code == 0, compared.err


def test_slices_of_volumes(medtrain: Callable[..., Ran], folder: Path) -> None:
    words = ["task=volume_cls", "data.patients=16", "data.spacing=4", "data.patch_size=[8,32,32]", *SMALL]
    ran = medtrain("embed", *words, "output=features")
    assert ran.code == 0, ran.err
    table = pd.read_csv(folder / "features" / "features.csv")
    assert len(table) == len(list((folder / "features").glob("*.h5"))) and f"{len(table)} files written now" in ran.out
    run = medtrain("train", *words, "model=gated_attention_mil", "hydra.run.dir=run")
    assert run.code == 0, run.err
    assert " 0 volumes encoded now" in run.out and "slices" in run.out
    ran = medtrain("export", "run=run", "output=made", "export.cases=3")
    assert ran.code == 0 and "0 decisions changed" in ran.out, ran.err
    image = nifti(folder / "volume.nii.gz")
    ran = medtrain("explain", "run=run", f"input={image}", "output=maps")
    assert ran.code == 0, ran.err
    rows = pd.read_csv(folder / "maps" / "explain.csv")
    assert set(rows["method"]) == {"attention", "contribution"} and rows["error"].isna().all()
    assert len(list((folder / "maps" / "maps").glob("*.nii.gz"))) == 2
