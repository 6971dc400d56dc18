"""Volumes with attention over their patches through the real command: trained, tested, predicted, explained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.integration.conftest import TINY_VOLUMES, Ran, run_of

MORE = "task.pool=attention model.attention=true model.checkpointing=true data.center=none data.patches_per_volume=2"


@pytest.fixture(scope="module")
def attentive(tmp_path_factory: pytest.TempPathFactory, phantom_cache: Path) -> Iterator[Path]:
    yield from run_of([*TINY_VOLUMES, *MORE.split()], tmp_path_factory)


@pytest.fixture
def scans(folder: Path, attentive: Path, phantom_cache: Path) -> Path:
    place = folder / "new é"
    place.mkdir()
    source = sorted(next(p for p in phantom_cache.rglob("phantoms/volume*/images")).glob("*.nii.gz"))
    for number in (0, 1):
        shutil.copy(source[number], place)
    (place / "x.nii.gz").write_bytes(source[2].read_bytes()[:300])
    return place


def test_a_run_counts_what_checkpointing_saves(attentive: Path) -> None:
    memory = json.loads((attentive / "run.json").read_text())["model_memory"]
    assert 0 < memory["kept_mb"] < memory["without_checkpointing_mb"]
    assert memory["saved"] == pytest.approx(1 - memory["kept_mb"] / memory["without_checkpointing_mb"], abs=0.05)
    table = pd.read_csv(attentive / "test_predictions.csv")
    assert table["case"].is_unique


@pytest.mark.drawn
def test_maps_pictures_and_a_table(medtrain: Callable[..., Ran], folder: Path, attentive: Path, scans: Path) -> None:
    ran = medtrain("explain", f"run={attentive}", f"input={scans}", "output=out", "explain.sanity=1")
    assert ran.code == 1 and "x.nii.gz" in ran.err and "weight randomisation, attention" in ran.out, ran.err
    assert medtrain("predict", f"run={attentive}", f"input={scans}", "output=out.csv").code == 1
    predicted = pd.read_csv(folder / "out.csv").set_index("case")
    table = pd.read_csv(folder / "out" / "explain.csv").set_index("case")
    assert set(table["method"].dropna()) == {"attention", "gradcam"} and len(table) == 5
    for case, row in table[table["map"].notna()].iterrows():
        assert row["prob"] == pytest.approx(predicted.loc[case, f"prob_{int(row['class'])}"], abs=1e-5)
        source, written = nib.load(scans / str(case)), nib.load(folder / "out" / row["map"])
        assert written.shape == source.shape[:3]
        np.testing.assert_allclose(written.affine, source.affine, atol=1e-4)
        heat = written.get_fdata()
        assert np.isfinite(heat).all() and heat.min() >= 0
        if row["method"] == "attention":
            assert heat.max() > 0
            index = [int(row[f"peak_{axis}"]) for axis in "ijk"]
            mm = source.affine[:3] @ [*index, 1]
            np.testing.assert_allclose(mm, [row[f"peak_{axis}_mm"] for axis in "xyz"], atol=3)
            assert all(row[f"peak_cell_{axis}_mm"] > 0 for axis in "xyz")
        with Image.open(folder / "out" / row["picture"]) as picture:
            assert min(picture.size) >= 500
    assert "synthetic" in (folder / "out" / "index.html").read_text()
    one = sorted(scans.glob("*.nii.gz"))[0]
    more = ["explain.method=occlusion", "explain.occlusion_size=8", "explain.occlusion_stride=8", "explain.sanity=0"]
    ran = medtrain("explain", f"run={attentive}", f"input={one}", "output=covered", *more)
    assert ran.code == 0 and "filled with the image's mean" in ran.out, ran.err
    (row,) = pd.read_csv(folder / "covered" / "explain.csv").to_dict("records")
    assert row["method"] == "occlusion" and nib.load(folder / "covered" / row["map"]).shape == nib.load(one).shape[:3]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("task.pool=attention task.mixup=0.2 data.patches_per_volume=2", "take one of them"),
        ("task.pool=attention data.patch_label=mask data.patches_per_volume=2", "it takes data.patch_label=case"),
        ("task.pool=attention data.patches_per_volume=1", "data.patches_per_volume=4"),
        ("augment=light", "augment can be: none, volume_light, volume_strong"),
        ("model=resnet18", "model=resnet18 is for image tasks"),
        ("model.norm=layer", "it can be batch, instance, group"),
        ("model.stem=tiny", "it can be auto, standard, half, small"),
    ],
)
def test_what_cannot_work_is_refused_before_any_data_is_read(
    medtrain: Callable[..., Ran], folder: Path, words: str, text: str
) -> None:
    ran = medtrain(*TINY_VOLUMES, *words.split())
    assert ran.code == 2 and text in ran.err, ran.err
