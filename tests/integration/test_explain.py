"""explain through the real command: pictures, maps, a table, a check, and a bad file that costs its own row."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtrain.explain.names import safe_name, unique_names
from medtrain.task.classification.classes import predicted
from tests.integration.conftest import TINY, Ran, run_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, phantom_cache: Path) -> Iterator[Path]:
    """A finished tiny run whose maps have more than one cell."""
    yield from run_of([*TINY, "model.stem=small"], tmp_path_factory)


@pytest.fixture
def films(folder: Path, trained: Path, phantom_cache: Path) -> Path:
    source = sorted(next(p for p in phantom_cache.rglob("images") if list(p.glob("*.png"))).glob("*.png"))
    place = folder / "new é"
    place.mkdir()
    shutil.copy(source[0], place / "a b.png")
    shutil.copy(source[1], place / "a_b.png")
    (place / "c.png").write_bytes(source[2].read_bytes()[:200])
    return place


@pytest.mark.drawn
def test_pictures_maps_and_a_table(medtrain: Callable[..., Ran], folder: Path, trained: Path, films: Path) -> None:
    ran = medtrain("explain", f"run={trained}", f"input={films}", "output=out", "explain.sanity=1")
    assert ran.code == 1 and "c.png" in ran.err and "weight randomisation, gradcam" in ran.out, ran.err
    table = pd.read_csv(folder / "out" / "explain.csv", dtype={"class": str, "prediction": str}).set_index("case")
    assert list(table.index) == ["a b.png", "a_b.png", "c.png"] and isinstance(table.loc["c.png", "error"], str)
    medtrain("predict", f"run={trained}", f"input={films}", "output=out.csv")
    predicted = pd.read_csv(folder / "out.csv", dtype={"prediction": str}).set_index("case")
    page = (folder / "out" / "index.html").read_text()
    assert "synthetic" in page
    for case in ("a b.png", "a_b.png"):
        row = table.loc[case]
        assert row["class"] == row["prediction"] == predicted.loc[case, "prediction"]
        assert row["prob"] == pytest.approx(predicted.loc[case, f"prob_{row['class']}"], abs=1e-5)
        heat = np.load(folder / "out" / row["map"])
        assert heat.shape == (4, 4) and heat.dtype == np.float32 and heat.min() >= 0
        with Image.open(folder / "out" / row["picture"]) as picture, Image.open(films / case) as film:
            assert min(picture.size) >= 512
            if heat.max() > heat.min():
                assert 0 <= row["peak_x"] < film.width and 0 <= row["peak_y"] < film.height
                assert row["peak_cell_w"] == pytest.approx(film.width / 4, rel=0.3)  # the film is padded to a square
                assert row["peak_cell_h"] == pytest.approx(film.height / 4, rel=0.3)
        assert row["picture"] in page
    assert table["picture"].dropna().nunique() == 2
    check = json.loads((folder / "out" / "sanity.json").read_text())
    assert set(check) == {"gradcam"} and check["gradcam"]["images"] == 1


@pytest.mark.drawn
def test_occlusion_says_what_it_covers(medtrain: Callable[..., Ran], folder: Path, trained: Path, films: Path) -> None:
    words = ["explain", f"run={trained}", f"input={films / 'a b.png'}", "output=out", "explain.method=occlusion"]
    ran = medtrain(*words, "explain.occlusion_size=16", "explain.occlusion_fill=lowest", "explain.sanity=0")
    assert ran.code == 0, ran.err
    text = "covers of 16 x 16 in 32 x 32, every 8 x 8, filled with its lowest value: 9 forward passes each"
    assert text in ran.out and text in (folder / "out" / "index.html").read_text()
    row = pd.read_csv(folder / "out" / "explain.csv").iloc[0]
    heat = np.load(folder / "out" / row["map"])
    assert row["method"] == "occlusion" and heat.shape == (32, 32)
    assert (heat == np.kron(heat[::8, ::8], np.ones((8, 8), np.float32))).all()
    ran = medtrain(*words, "explain.occlusion_size=[8,8,8]")
    assert ran.code == 2 and "explain.occlusion_size=[8, 8, 8]: give one number, or 2" in ran.err


def test_what_cannot_be_explained(medtrain: Callable[..., Ran], folder: Path, trained: Path, films: Path) -> None:
    words = ["explain", f"run={trained}", f"input={films}", "output=out"]
    for more, text in (
        (["explain.method=attention"], "model.attention=true"),
        (["explain.classes=[cancer]"], "none of the run's 0, 1"),
        (["explain.method=lime"], "it can be all, attention, gradcam"),
        (["transfer=freeze"], "fixed by the run"),
    ):
        ran = medtrain(*words, *more)
        assert ran.code == 2 and text in ran.err, (more, ran.err)
    assert medtrain("explain", f"run={trained}", f"input={films}").code == 2


def test_classes_of_a_prediction() -> None:
    classes = ["opacity", "nodule"]
    row = pd.Series({"prediction_opacity": "1", "prediction_nodule": "1", "prob_opacity": 0.6, "prob_nodule": 0.9})
    assert predicted(row, classes) == classes
    row[["prediction_opacity", "prediction_nodule"]] = "0"
    assert predicted(row, classes) == ["nodule"]
    assert predicted(pd.Series({"prediction": "opacity", "prob_opacity": 0.6, "prob_nodule": 0.4}), classes) == [
        "opacity"
    ]


def test_names_of_files() -> None:
    assert (
        safe_name("ward 3/../é#1.dcm") == "ward_3_.._1"
        and safe_name("???.png") == "image"
        and len(safe_name("x" * 500)) == 80
    )
    assert unique_names(["a", "A", "a_2", "a"]) == ["a", "A_2", "a_2_2", "a_3"]
