"""A cross-validation and its ensemble by two commands, and the ensemble's folder used like a run."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tests.integration.conftest import TINY, Ran

SMALL = [*TINY, "eval.bootstrap=20"]


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def table(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype={"case": str, "target": str, "prediction": str}).set_index("case")


def assert_report_agrees(cv: Path, runs: list[Path]) -> None:
    """Read the report of a cross-validation against the files of its runs."""
    page = (cv / "report.html").read_text()
    lines = re.sub(r"<(style|script).*?</\1>|<[^>]+>", "\n", page, flags=re.S)
    text = html.unescape(re.sub(r"\s+", " ", lines))
    decisions, tests = ([read(run / file) for run in runs] for file in ("decision.json", "test_metrics.json"))
    limits = sorted(one["thresholds"]["1"] for one in decisions)
    assert f"threshold of its own fold: 1 {limits[0]:.3f} to {limits[-1]:.3f} (youden)" in text
    temperatures = [one["temperature"] for one in decisions]
    assert f"own temperature ({min(temperatures):.3f} to {max(temperatures):.3f})" in text
    for fold, (decision, tested) in enumerate(zip(decisions, tests, strict=True)):
        shown = [tested["metrics"][name]["value"] for name in ("auroc", "sensitivity", "specificity")]
        numbers = [decision["temperature"], decision["thresholds"]["1"], *shown]
        positives = (table(runs[fold] / "test_predictions.csv")["target"] == "1").sum()
        row = f" {fold} {tested['n_cases']} {tested['n_patients']} {positives} "
        assert row + " ".join(f"{value:.3f}" for value in numbers) in text, (row, text)
    metrics = read(cv / "test_metrics.json")
    within = metrics["metrics"]["auroc_within_folds"]
    assert metrics["decision"]["thresholds"] == {} and len(metrics["decision"]["folds"]) == 3
    assert f"Out of fold ({metrics['n_cases']} cases of 24 patients), AUROC within folds for 1 is" in text
    assert f"AUROC within folds {within['value']:.3f} {within['ci95'][0]:.3f} to {within['ci95'][1]:.3f}" in text
    assert "3 folds of the patients" in text and "A case counts as" not in text
    for wrong in ("test split", "one network", "Operating points", "1.000) was fitted"):
        assert wrong not in text, wrong


def test_a_cross_validation_by_two_commands(medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    sweep = "a sweep (é)"
    words = ["-m", *SMALL, "data.folds=3", "data.fold=0,1,2", "eval.threshold=youden", f"hydra.sweep.dir={sweep}"]
    ran = medtrain(*words)
    assert ran.code == 0, ran.err
    ran = medtrain("ensemble", f"runs={sweep}", "hydra.run.dir=cv")
    assert ran.code == 0 and "mean of 3 folds: AUROC" in ran.out, ran.err
    runs = [folder / sweep / str(k) for k in range(3)]
    splits = [pd.read_csv(run / "splits.csv").set_index("case") for run in runs]
    prints = [read(run / "run.json")["fingerprints"] for run in runs]
    assert len({p["folds"] for p in prints}) == 1 and len({p["split"] for p in prints}) == 3

    # every case once, by the run that had it in its test part, at that run's own decision
    whole = table(folder / "cv" / "test_predictions.csv")
    tests = [table(run / "test_predictions.csv") for run in runs]
    assert list(whole.index) == list(splits[0].index) and len(whole) == sum(map(len, tests))
    for run, split, mine in zip(runs, splits, tests, strict=True):
        assert set(mine.index) == set(split.index[split["split"] == "test"])
        assert not set(split.loc[split["split"] != "test", "patient"]) & set(mine["patient"])
        pd.testing.assert_frame_equal(whole.loc[mine.index], mine[list(whole.columns)])  # sets are a run's own
        assert set(table(run / "val_predictions.csv").index) == set(split.index[split["split"] == "val"])
    metrics = read(folder / "cv" / "test_metrics.json")
    assert metrics["n_cases"] == len(whole) and metrics["n_patients"] == 24
    assert metrics["metrics"]["auroc"]["value"] == pytest.approx(roc_auc_score(whole["target"], whole["prob_1"]))
    assert metrics["metrics"]["auroc"]["ci95"] and metrics["abstention"]["by"] == "confidence"
    own = [read(run / "test_metrics.json")["metrics"]["auroc"]["value"] for run in runs]
    assert metrics["folds"]["auroc"]["values"] == own and metrics["folds"]["auroc"]["sd"] == np.std(own, ddof=1)

    # temperatures are the members' own, the threshold comes from validation
    decision = read(folder / "cv" / "decision.json")
    for k, run in enumerate(runs):
        theirs = read(run / "decision.json")
        assert decision["members"][k]["temperature"] == theirs["temperature"]
        assert decision["folds"][k]["thresholds"] == theirs["thresholds"]
    assert "2 of 3 a case" in decision["basis"] and 0 < decision["thresholds"]["1"] < 1
    assert_report_agrees(folder / "cv", runs)

    # the folder stands alone, wherever it is
    shutil.move(folder / sweep, folder / "gone")
    shutil.move(folder / "cv", folder / "moved")
    checkpoint = torch.load(folder / "moved" / "checkpoints" / "best.ckpt", weights_only=True)
    assert len([key for key in checkpoint["state_dict"] if key.endswith(".fc.bias")]) == 3
    ran = medtrain("test", "run=moved")
    assert ran.code == 2 and "has trained some of its members" in ran.err
    ran = medtrain("test", "run=moved", "data=phantom_xray", "data.phantom_seed=4", "data.patients=12", "name=other")
    assert ran.code == 0, ran.err
    assert read(folder / "moved" / "test_other" / "test_metrics.json")["abstention"]["by"] == "ensemble"
    films = folder / "films"
    films.mkdir()
    for file in sorted(next(p for p in phantom_cache.rglob("images") if list(p.glob("*.png"))).glob("*.png"))[:2]:
        shutil.copy(file, films / file.name)
    assert medtrain("predict", "run=moved", f"input={films}", "output=all.csv").code == 0
    found = table(folder / "all.csv")
    assert list(found.columns[-2:]) == ["uncertainty", "error"] and (found["uncertainty"] > 0).all()
    assert ((found["prediction"] == "1") == (found["prob_1"] >= decision["thresholds"]["1"])).all()
    ran = medtrain("explain", "run=moved", f"input={films}", "output=maps", "explain.sanity=1")
    assert ran.code == 0 and len(pd.read_csv(folder / "maps" / "explain.csv")) == 2, ran.err
    for words, text in (
        (["run=moved"], "an ensemble, which isn't trained"),
        (["ensemble", "runs=gone/[01]"], "lacks data.fold=2 (of 3 folds)"),
        (["ensemble", "runs=gone", "model=resnet50"], "fixed by the run"),
        (["ensemble"], "ensemble needs runs="),
        (["test", "run=moved", "data=phantom_xray", "data.patients=12", "eval.mc_dropout=5"], "spread of its members"),
        (["test", "run=gone/0", "eval.mc_dropout=5"], "the network has no dropout"),
    ):
        ran = medtrain(*words)
        assert ran.code == 2 and text in ran.err, (words, ran.err)


def test_networks_on_one_split_with_dropout(medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    """Two architectures, three classes; the test of the ensemble's network is what the tables gave."""
    words = [word for word in SMALL if not word.startswith("model=")]
    words += ["model=resnet18,resnet34", "model.dropout=0.3", "eval.mc_dropout=3", "data.columns.label=finding"]
    assert medtrain("-m", *words, "hydra.sweep.dir=sweep").code == 0
    one = read(folder / "sweep" / "0" / "test_metrics.json")
    assert one["abstention"]["by"] == "mc_dropout" and len(one["abstention"]["curve"]) == 11
    assert "uncertainty" in table(folder / "sweep" / "0" / "test_predictions.csv")
    ran = medtrain("test", "run=sweep/0", "eval.mc_dropout=0")
    assert ran.code == 0, ran.err
    plain = table(folder / "sweep" / "0" / "test_test" / "test_predictions.csv")
    pd.testing.assert_frame_equal(plain, table(folder / "sweep" / "0" / "test_predictions.csv")[plain.columns])
    ran = medtrain("ensemble", "runs=sweep/0,sweep/1")
    assert ran.code == 0, ran.err
    (made,) = (folder / "outputs" / "xray_cls").glob("*_ensemble")
    assert medtrain("test", f"run={made}").code == 0
    told, computed = (table(made / name / "test_predictions.csv") for name in (".", "test_test"))
    pd.testing.assert_frame_equal(told, computed, atol=1e-6)
    assert list(told.columns[-1:]) == ["uncertainty"] and read(made / "test_metrics.json")["folds"] is None
    assert read(made / "run.json")["model"] == "ensemble of 1 resnet18, 1 resnet34"
