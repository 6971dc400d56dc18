"""Detectors that work together: a cross-validation, an ensemble on one split, and their folders used like runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtrain.core.box_fusion import fuse_boxes, joined
from medtrain.core.coco import read_back
from tests.integration.conftest import TINY_BOXES, Ran

SMALL = [*TINY_BOXES, "eval.bootstrap=20"]


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def rows(entries: list[dict[str, Any]]) -> np.ndarray:
    values = [[row["image_id"], row["category_id"], *row["bbox"], row["score"]] for row in entries]
    return np.array(sorted(values, key=lambda row: (row[0], -row[-1], row[2])))


@pytest.fixture
def phantom(monkeypatch: pytest.MonkeyPatch, phantom_cache: Path) -> None:
    """Films that are made once for all tests."""


def test_two_networks_on_one_split_act_as_one_run(phantom: None, medtrain: Callable[..., Ran], folder: Path) -> None:
    flips = ["augment=boxes_flips", "eval.tta=2"]
    assert medtrain(*SMALL, *flips, "hydra.run.dir=one").code == 0
    assert medtrain(*SMALL, *flips, "model.size=s", "seed=1", "hydra.run.dir=two").code == 0
    told = medtrain("ensemble", "runs=one,two", "hydra.run.dir=both")
    assert told.code == 0, told.err
    truth, _ = read_back([], read(folder / "one/test_truth.json"))
    parts = [read_back(read(folder / run / "test_predictions.json"), read(folder / run / "test_truth.json"))[1]
             for run in ("one", "two")]  # fmt: skip
    fused, _ = fuse_boxes(*joined(parts), 2)
    said = read(folder / "both/test_predictions.json")
    assert len(said) == len(fused.score_N) and all(len(part.score_N) for part in parts)
    # the networks, run again in the ensemble's folder, say what was put together from files
    again = medtrain("test", "run=both", "name=again")
    assert again.code == 0, again.err
    np.testing.assert_allclose(rows(read(folder / "both/test_again/test_predictions.json")), rows(said), atol=1e-4)
    metrics, anew = (read(folder / at / "test_metrics.json") for at in ("both", "both/test_again"))
    for name in ("map50", "cpm", "f1"):
        assert anew["metrics"][name]["value"] == pytest.approx(metrics["metrics"][name]["value"], abs=1e-6)
    decision = read(folder / "both/decision.json")
    assert set(decision["thresholds"]) == {"nodule"} and decision["validation"]["nodule"]
    assert (folder / "both/report.html").is_file() and len(truth) == metrics["n_cases"]
    film = folder / "film.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80), np.uint8)).save(film)
    assert medtrain("predict", "run=both", f"input={film}", "output=found.json").code == 0
    assert medtrain("explain", "run=both", f"input={film}", "output=drawn").code == 0
    assert list((folder / "drawn/pictures").glob("*.png")) and (folder / "found.images.csv").is_file()


def test_folds_judge_each_image_by_its_own_run(phantom: None, medtrain: Callable[..., Ran], folder: Path) -> None:
    swept = medtrain("-m", *SMALL, "data.folds=3", "data.fold=0,1,2", "hydra.sweep.dir=cv")
    assert swept.code == 0, swept.err
    told = medtrain("ensemble", "runs=cv", "hydra.run.dir=whole")
    assert told.code == 0, told.err
    runs = sorted(file.parent for file in (folder / "cv").glob("*/test_truth.json"))
    metrics = read(folder / "whole/test_metrics.json")
    facts = metrics["cross_validation"]["folds"]
    assert [fold["n_cases"] for fold in facts] == [read(run / "test_metrics.json")["n_cases"] for run in runs]
    for fold, run in zip(facts, runs, strict=True):
        own = read(run / "test_metrics.json")["metrics"]
        assert fold["thresholds"] == read(run / "decision.json")["thresholds"]
        assert fold["metrics"]["map50"] == pytest.approx(own["map50"]["value"], nan_ok=True)
    single = [read(run / "test_metrics.json")["metrics"]["map50"]["value"] for run in runs]
    assert metrics["folds"]["map50"]["mean"] == pytest.approx(np.mean(single))
    boxes = sum(len(read(run / "test_predictions.json")) for run in runs)
    assert len(read(folder / "whole/test_predictions.json")) == boxes
    basis = read(folder / "whole/decision.json")["basis"]
    assert "2 of 3" in basis
    page = (folder / "whole/report.html").read_text()
    assert "Folds of the cross-validation" in page and "threshold of its own fold" in page
    assert medtrain("test", "run=whole").code == 2  # each of its images trained a member


def test_runs_that_differ_are_refused(phantom: None, medtrain: Callable[..., Ran], folder: Path) -> None:
    for n, more in enumerate((["data.image_size=64"], ["data.image_size=96"], ["eval.tta=2", "seed=3"])):
        assert medtrain(*SMALL, *more, f"hydra.run.dir=r{n}").code == 0
    told = medtrain("ensemble", "runs=r0,r1")
    assert told.code == 2 and "size" in told.err
    told = medtrain("ensemble", "runs=r0,r2")
    assert told.code == 2 and "eval.tta" in told.err
    assert medtrain("ensemble", "runs=r0").code == 2
