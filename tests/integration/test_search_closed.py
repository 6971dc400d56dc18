"""The test split of a search stays closed, whatever its files are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtrain.data.phantom.slide import make_phantom_slides
from medtrain.io import record
from tests import preloaded
from tests.integration.conftest import TINY, Ran, ended

pytest.importorskip("optuna")

SPY = """
import sys

import h5py
import openslide

log = open("opened.log", "a", buffering=1)

def spy(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and "opened.log" not in arguments[0]:
        log.write(arguments[0] + "\\n")

def watched(kind):  # files that C opens
    first = kind.__init__
    def init(self, name, *args, **options):
        log.write(str(name) + "\\n")
        first(self, name, *args, **options)
    kind.__init__ = init

sys.addaudithook(spy)
watched(h5py.File)
watched(openslide.OpenSlide)
"""


def films() -> list[str]:
    rng = np.random.default_rng(0)
    Path("files").mkdir()
    names = [f"files/{n:02d}.png" for n in range(40)]
    for n, name in enumerate(names):
        Image.fromarray(rng.integers(0, 200, (24, 24), np.uint8) + np.uint8(40 * (n % 2))).save(name)
    table = pd.DataFrame({"path": names, "label": np.arange(40) % 2, "patient": range(40)})
    table.to_csv("table.csv", index=False)
    return ["data=image_table", "data.image_size=32,48,64", "model=resnet18", "model.weights=none"]


def volumes() -> list[str]:
    rng = np.random.default_rng(0)
    Path("files").mkdir()
    names = [f"files/{n:02d}.nii.gz" for n in range(24)]
    for n, name in enumerate(names):
        voxels = rng.normal(100 + 20 * (n % 2), 10, (16, 16, 16)).astype(np.float32)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), name)
    table = pd.DataFrame({"image": names, "label": np.arange(24) % 2, "patient": range(24)})
    table.to_csv("table.csv", index=False)
    space = ["data.spacing=1.0,2.0,1.5", "data.patch_size=8", "model=resnet10_3d", "model.width=8"]
    return ["task=volume_cls", "data=volume_table", *space]


def slides() -> list[str]:
    make_phantom_slides(Path("files"), patients=16, slide_px=512, seed=0)
    table = pd.read_csv("files/table.csv").drop(columns="mask")
    table.assign(slide="files/" + table["slide"]).to_csv("table.csv", index=False)
    space = ["data.batch_size=4,8,16", "encoder=descriptor", "data.tile_px=64", "data.mpp=0.5"]
    return ["task=wsi_mil", "data=slide_table", *space]


def bags() -> list[str]:
    rng = np.random.default_rng(0)
    Path("files").mkdir()
    names = [f"files/{n:02d}.h5" for n in range(30)]
    for n, name in enumerate(names):
        with h5py.File(name, "w") as file:
            file["features"] = rng.normal(n % 2, 1, (5, 8)).astype(np.float32)
    pd.DataFrame({"bag": names, "label": np.arange(30) % 2, "patient": range(30)}).to_csv("table.csv", index=False)
    return ["task=wsi_mil", "data=feature_bags", "data.columns.path=bag", "data.batch_size=4,8,16"]


@pytest.mark.parametrize("make", [films, volumes, slides, bags])
def test_no_file_of_the_test_split_is_opened_before_the_best_is_tested(
    folder: Path, make: Callable[[], list[str]]
) -> None:
    started = preloaded.start(
        *("-m", "hydra/sweeper=optuna", "hydra.sweep.dir=search", "hydra.sweeper.n_trials=3", *make()),
        *("data.table=table.csv", "hydra.sweeper.sampler=grid", "trainer=cpu"),
        *("trainer.max_epochs=1", "eval.bootstrap=20", "data.num_workers=0"),
        code=SPY,
        MEDTRAIN_CACHE=str(folder / "cache"),
    )
    ran = ended(started)
    assert ran.code == 0, ran.out + ran.err
    lines = Path("opened.log").read_text().splitlines()
    splits = pd.read_csv("search/default/splits.csv", dtype=str)
    stem = splits["case"].map(lambda case: Path(case).name.partition(".")[0])
    of = {split: set(stem[splits["split"] == split]) for split in ("train", "test")}
    opened = [Path(line).name.partition(".")[0] if "files/" in line else line for line in lines]
    first = next(n for n, name in enumerate(opened) if name.startswith(str(Path("search/0"))) or "/search/0/" in name)
    last = next(n for n, name in enumerate(opened) if "test_test" in name)
    assert len(of["test"]) >= 4 and of["test"] <= set(opened[:first])  # what they are has to be known
    assert not of["test"] & set(opened[first:last])
    assert make in (slides, bags) or of["train"] <= set(opened[first:last])  # at another size
    tested = [run.name for run in Path("search").iterdir() if record.look(run).get("tests_counted")]
    facts = json.loads(Path("search/search.json").read_text())
    assert tested == [facts["best"]["run"]] and facts["test"]["tests_of_search"] == 1
    assert sorted(set(splits["content"])) == sorted(set(pd.read_csv("search/2/splits.csv", dtype=str)["content"]))
    assert "tune.html" in ran.out and "corrected for being the best of 4" in ran.out
    again = Path("search") / facts["best"]["run"] / "test_test"
    assert again.is_dir() and not list(Path("search").glob("*/test_test_2"))


def test_a_search_has_one_test_split(medtrain: Callable[..., Ran], folder: Path) -> None:
    words = ["-m", "hydra/sweeper=optuna", "hydra.sweep.dir=search", *TINY, "data.split_seed=5,6"]
    ran = medtrain(*words, "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=grid")
    assert "a search has one test split" in ran.out, ran.out
