"""The chest film phantom: real files, the same from the same seed, with findings that can be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtrain.core.errors import UsageError
from medtrain.core.streams import stream
from medtrain.data.phantom import xray
from medtrain.data.phantom.anatomy import draw_anatomy
from medtrain.data.phantom.xray import ChestFinding, make_phantom_xray
from tests.data.tables import config, opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("phantom")
    make_phantom_xray(place, patients=30, image_size=32, seed=0)
    return place


def test_the_same_seed_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    make_phantom_xray(tmp_path, patients=4, image_size=32, seed=0)
    text = (tmp_path / "table.csv").read_text()
    assert (folder / "table.csv").read_text().startswith(text)
    for path in pd.read_csv(tmp_path / "table.csv")["path"]:
        assert (tmp_path / path).read_bytes() == (folder / path).read_bytes()
    make_phantom_xray(tmp_path / "other", patients=4, image_size=32, seed=1)
    assert (tmp_path / "other" / "table.csv").read_text() != text


def test_the_table(folder: Path) -> None:
    table = pd.read_csv(folder / "table.csv")
    assert table.columns.tolist() == ["path", "label", "patient", "sex", "site", "view", "opacity", "nodule", "finding"]
    np.testing.assert_array_equal(table["label"], table["opacity"] | table["nodule"])
    np.testing.assert_array_equal(table["label"] == 0, table["finding"] == "normal")
    assert 0.2 < table["label"].mean() < 0.6 and table["path"].is_unique
    assert set(table.groupby("patient").size()) <= {1, 2, 3, 4} and table["patient"].nunique() == 30


def test_the_files(folder: Path) -> None:
    deep = 0
    sizes = set()
    for path in (folder / "images").iterdir():
        image = Image.open(path)
        pixels = np.asarray(image)
        sizes.add(image.size)
        if image.mode == "I;16":
            deep += 1
            assert 1000 < pixels.max() < 4096
        else:
            assert image.mode == "L" and np.ptp(pixels) > 100
    assert len(sizes) > 10 and 0.15 < deep / len(list((folder / "images").iterdir())) < 0.5


@pytest.mark.parametrize("finding", [ChestFinding(True, False), ChestFinding(False, True)])
def test_a_finding_brightens_the_lungs(finding: ChestFinding) -> None:
    film, healthy = (
        xray.draw_film(stream(0, "film"), draw_anatomy(stream(0, "patient")), what, "PA", "north", 64)[0]
        for what in (finding, ChestFinding(False, False))
    )
    assert film.shape == healthy.shape
    assert np.quantile(film - healthy, 0.99) > 0.05


def test_as_data(tmp_path: Path) -> None:
    cfg = config("phantom_xray", patients=24, image_size=16, cache_dir=str(tmp_path))
    data = opened("phantom_xray", cfg)
    data.prepare()
    assert data.synthetic and data.spec.size == (16, 16) and data.spec.target.kind == "binary" and not data.problems
    assert data.table["site"].isin(xray.SITES).all()
    kinds = {"multilabel": ["opacity", "nodule"], "multiclass": "finding"}
    for kind, columns in kinds.items():
        other = opened("phantom_xray", config("phantom_xray", **{**cfg, "columns": {"label": columns}}))
        other.prepare()
        assert other.spec.target.kind == kind and other.decoded == 0
    with pytest.raises(UsageError, match="data=image_table"):
        opened("phantom_xray", cfg | {"table": "my.csv"}).prepare()
