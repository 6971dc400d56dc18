"""Bags through the real command: CSV and slides trained, tested, predicted, put together, explained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.integration.conftest import BAGS, Ran

CSV = "task=wsi_mil data=feature_bags data.table=bags.csv trainer=cpu eval.bootstrap=50 debug=true".split()


@pytest.fixture
def table(folder: Path) -> Path:
    """60 bags; a positive one holds an instance with a high first feature, on another scale than the second."""
    draw = np.random.default_rng(0)
    rows = []
    for bag in range(60):
        x = draw.normal(0, [100, 0.01, 1], (1 + bag % 7, 3))
        x[0, 0] = 800.0 if bag % 2 else 0.0
        rows += [f"{bag % 2},b{bag}," + ",".join(map(str, row)) for row in x.tolist()]
    (folder / "bags.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_csv_bags_learn_and_their_folds_make_an_ensemble(table: Path, medtrain: Callable[..., Ran]) -> None:
    words = [*CSV, "trainer.max_epochs=12", "model.hidden=[16]", "optimizer.lr=0.02", "data.folds=3", "data.fold=0,1,2"]
    ran = medtrain("-m", *words, "hydra.sweep.dir=sweep")
    assert ran.code == 0, ran.err
    ran = medtrain("ensemble", "runs=sweep", "hydra.run.dir=whole", "eval.bootstrap=50")
    assert ran.code == 0, ran.err
    assert json.loads(Path("whole/test_metrics.json").read_text())["metrics"]["auroc"]["value"] > 0.95
    ran = medtrain("predict", "run=whole", "input=bags.csv", "output=all.csv")
    assert ran.code == 0, ran.err
    members = [pd.read_csv(f"{n}.csv") for n in range(3) if medtrain(
        "predict", f"run=sweep/{n}", "input=bags.csv", f"output={n}.csv").code == 0]  # fmt: skip
    mean = np.mean([each["prob_1"] for each in members], axis=0)
    np.testing.assert_allclose(pd.read_csv("all.csv")["prob_1"], mean, atol=1e-6)  # each with its own statistics


def test_predictions_are_those_of_the_test_and_dropout_says_how_unsure_they_are(
    table: Path, medtrain: Callable[..., Ran]
) -> None:
    ran = medtrain(*CSV, "trainer.max_epochs=2", "task.entropy=0.1", "hydra.run.dir=run", "eval.mc_dropout=4")
    assert ran.code == 0, ran.err
    tested = pd.read_csv("run/test_predictions.csv", dtype={"target": str}).set_index("case")
    assert tested["uncertainty"].between(0, 1).all() and tested["uncertainty"].std() > 0
    assert "train_entropy" in pd.read_csv("run/metrics.csv")
    ran = medtrain("predict", "run=run", "input=bags.csv", "output=all.csv", "data.batch_size=1")
    assert ran.code == 0, ran.err
    again = pd.read_csv("all.csv").set_index("case").loc[tested.index]
    np.testing.assert_allclose(again["prob_1"], tested["prob_1"], atol=1e-6)


def test_a_bad_bag_costs_its_own_row(table: Path, medtrain: Callable[..., Ran]) -> None:
    assert medtrain(*CSV, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    (table / "new.csv").write_text("0,x,1,2,3\n0,y,1,,3\n")
    ran = medtrain("predict", "run=run", "input=new.csv", "output=new_said.csv")
    said = pd.read_csv("new_said.csv")
    assert ran.code == 1 and "column 4 of row 2" in ran.err
    assert said["prob_1"].notna().tolist() == [True, False]


def test_entropy_without_attention_is_refused(table: Path, medtrain: Callable[..., Ran]) -> None:
    ran = medtrain(*CSV[:-1], "model=mean_mil", "task.entropy=0.1", "hydra.run.dir=run")
    assert ran.code == 2 and "task.entropy=0.1 needs attention" in ran.err


def test_tiles_and_features_are_told_apart_before_any_data(medtrain: Callable[..., Ran]) -> None:
    ran = medtrain(*BAGS, "data.tiles=true")
    assert ran.code == 2 and "model=end_to_end_mil" in ran.err
    ran = medtrain(*BAGS, "model=end_to_end_mil")
    assert ran.code == 2 and "data.tiles=true" in ran.err


@pytest.mark.drawn
def test_slides_from_table_to_heatmap(medtrain: Callable[..., Ran], phantom_cache: Path, folder: Path) -> None:
    ran = medtrain(*BAGS, "hydra.run.dir=run", "debug=true", "data.max_instances=8")
    assert ran.code == 0, ran.err
    assert "tile_auroc" in json.loads(Path("run/test_metrics.json").read_text())["metrics"]
    phantom = next((phantom_cache / "phantoms").glob("slide*16p_512px*"))
    listed = pd.read_csv(phantom / "table.csv")
    slide = phantom / listed.loc[listed["label"] == 1, "slide"].iloc[0]
    ran = medtrain("explain", "run=run", f"input={slide}", "output=seen", "explain.region_threshold=0.2", "debug=true")
    assert ran.code == 0, ran.err
    rows = pd.read_csv("seen/explain.csv")
    assert rows["method"].tolist() == ["attention", "contribution"]
    tiles = pd.read_csv(f"seen/{rows['map'][0]}")
    assert tiles["attention"].sum() == pytest.approx(1, abs=1e-5)
    assert len(tiles) == rows["tiles"][0]
    for name in rows["picture"]:
        with Image.open(f"seen/{name}") as picture:
            assert picture.width > 800
    drawn = json.loads(next(Path("seen/geojson").glob("*_tiles.geojson")).read_text())["features"]
    corner = drawn[0]["geometry"]["coordinates"][0]
    assert corner[0] == [tiles["x"][0], tiles["y"][0]] and corner[2][0] - corner[0][0] == 64
    regions = pd.read_csv("seen/regions.csv")
    assert len(regions) == rows["regions"][0]
    np.testing.assert_allclose(regions["area_mm2"], regions["tiles"] * (64 * 0.5e-3) ** 2)
    assert list(Path("seen/top_tiles").glob("*.png"))


def test_an_own_network_sees_places_and_is_explained(
    medtrain: Callable[..., Ran], phantom_cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "nets").mkdir()
    (folder / "nets" / "placed_net.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self, spec):\n        super().__init__()\n"
        "        self.linear = nn.Linear(spec.channels + 2, spec.n_logits)\n\n"
        "    def forward(self, bags):\n"
        "        scores = self.linear(torch.cat([bags.x.float(), bags.coords / 10], 1))\n"
        "        return torch.stack([part.mean(0) for part in scores.split(bags.offsets.diff().tolist())])\n"
    )
    monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", str(folder / "nets"))
    words = ["model=custom", "model.kind=bag", "model._target_=placed_net.Net", "hydra.run.dir=run", "debug=true"]
    ran = medtrain(*BAGS, *words)
    assert ran.code == 0, ran.err
    phantom = next((phantom_cache / "phantoms").glob("slide*16p_512px*"))
    slide = phantom / pd.read_csv(phantom / "table.csv")["slide"].iloc[0]
    ran = medtrain("explain", "run=run", f"input={slide}", "output=seen")
    assert ran.code == 0, ran.err
    assert "Net doesn't say what each instance adds" in ran.out
    assert pd.read_csv("seen/explain.csv")["method"].tolist() == ["gradient"]


def test_bags_without_places_are_told(table: Path, medtrain: Callable[..., Ran]) -> None:
    ran = medtrain(*CSV, "model=neighbour_mil", "hydra.run.dir=refused")
    assert ran.code == 2 and "none of these bags has coordinates" in ran.err
    ran = medtrain(*CSV, "model=transmil", "trainer.max_epochs=1", "hydra.run.dir=run")
    assert ran.code == 0 and "depends on the order" in ran.out
    ran = medtrain("explain", "run=run", "input=bags.csv", "output=seen")
    assert ran.code == 0, ran.err
    assert "60 of 60 bags have no coordinates" in ran.out and "depends on the order" in ran.out
