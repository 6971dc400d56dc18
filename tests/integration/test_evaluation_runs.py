"""What a run says of groups and other prevalences, and that a decision is never fitted again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from tests.integration.conftest import TINY, Ran, run_of

DARK = "data=image_table", "data.table=dark.csv", "name=dark"


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, phantom_cache: Path) -> Iterator[Path]:
    """A run with two findings, a threshold for each, groups and a prevalence."""
    more = ["data.columns.label=[opacity,nodule]", "eval.threshold=sensitivity@0.8", "eval.groups=[sex,site]"]
    yield from run_of([*TINY, *more, "eval.prevalence=0.05"], tmp_path_factory)


def phantom_table(cache: Path) -> Path:
    (file,) = (cache / "phantoms").glob("*_24p_32px_seed0/table.csv")
    return file


def test_groups_and_prevalence_of_a_training(several: Path, phantom_cache: Path) -> None:
    found = json.loads((several / "test_metrics.json").read_text())
    assert found["abstention"]["by"] == "confidence" and found["prevalence"]["prevalence"] == 0.05
    assert set(found["prevalence"]["per_class"]) == {"opacity", "nodule"}
    table = pd.read_csv(phantom_table(phantom_cache)).set_index("path")
    tested = pd.read_csv(several / "test_predictions.csv").set_index("case").join(table[["sex", "site"]])
    for column in ("sex", "site"):
        groups = found["groups"][column]
        assert {name: g["n_cases"] for name, g in groups.items()} == tested[column].value_counts().to_dict()
        for name, group in groups.items():
            mine = tested[tested[column] == name]
            assert group["events"] == {c: mine[f"target_{c}"].sum() for c in ("opacity", "nodule")}
            assert group["n_patients"] == mine["patient"].nunique()
            value = group["per_class"]["opacity"]["auroc"]["value"]
            if mine["target_opacity"].nunique() == 1:
                assert value is None
            else:
                assert value == pytest.approx(roc_auc_score(mine["target_opacity"], mine["prob_opacity"]))
    bins = found["calibration"]["bins"]
    assert set(bins) == {"opacity", "nodule"} and sum(b["n"] for b in bins["nodule"]) == found["n_cases"]
    assert found["calibration"]["temperature"] == found["decision"]["temperature"]


def test_a_decision_is_not_fitted_again_on_shifted_data(
    several: Path, medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    """On another mix of labels, and of films, a fitted threshold or temperature would move."""
    shutil.copytree(several, folder / "run")
    source = phantom_table(phantom_cache)
    table = pd.read_csv(source)
    table["opacity"], table["nodule"] = 1 - table["opacity"], 1 - table["nodule"]
    table["patient"] = "other " + table["patient"]
    (folder / "turned").mkdir()
    for n, path in enumerate(table["path"]):  # films that the run has not seen
        film = np.asarray(Image.open(source.parent / path))
        Image.fromarray(np.ascontiguousarray(film[:, ::-1])).save(folder / "turned" / f"{n}.png")
    table["path"] = [str(folder / "turned" / f"{n}.png") for n in range(len(table))]
    table.rename(columns={"sex": "gender"}).to_csv("dark.csv", index=False)
    ran = medtrain("test", "run=run", *DARK)
    assert ran.code == 2 and "no column 'sex'" in ran.err and "gender" in ran.err
    ran = medtrain("test", "run=run", *DARK, "eval.groups=[gender]", "data.window=[0,2000]")
    assert ran.code == 0, ran.err
    assert "by gender" in ran.out and "at prevalence 0.05" in ran.out
    (place,) = (folder / "run").glob("test_dark*/test_metrics.json")
    own, other = (json.loads(file.read_text()) for file in (folder / "run" / "test_metrics.json", place))
    decision = json.loads((folder / "run" / "decision.json").read_text())
    for found in (own, other):
        own_words = ("checkpoint_sha256", "warnings")  # of the file alone; warnings are of validation
        assert {k: v for k, v in found["decision"].items() if k not in own_words} == {
            k: v for k, v in decision.items() if k not in own_words
        }
    limits = decision["thresholds"]
    assert set(limits) == {"opacity", "nodule"} and limits["opacity"] != limits["nodule"]
    predicted = pd.read_csv(place.parent / "test_predictions.csv")
    assert len(predicted) == len(table)  # other data count whole
    for name, limit in limits.items():
        assert ((predicted[f"prob_{name}"] >= limit) == (predicted[f"prediction_{name}"] == 1)).all()
    ran = medtrain("predict", "run=run", "input=dark.csv", "output=out.csv")
    assert ran.code == 0, ran.err
    for name, limit in limits.items():
        table = pd.read_csv("out.csv")
        assert ((table[f"prob_{name}"] >= limit) == (table[f"prediction_{name}"] == 1)).all()


def test_own_data_can_be_broken_down_later(trained: Path, medtrain: Callable[..., Ran], folder: Path) -> None:
    shutil.copytree(trained, folder / "run")
    ran = medtrain("test", "run=run", "eval.groups=[view]", "eval.prevalence=0.2")
    assert ran.code == 0, ran.err
    found = json.loads((folder / "run" / "test_test" / "test_metrics.json").read_text())
    assert sum(g["n_cases"] for g in found["groups"]["view"].values()) == found["n_cases"]
    before = json.loads((trained / "test_metrics.json").read_text())
    assert found["metrics"] == before["metrics"] and before["groups"] is None and before["prevalence"] is None
