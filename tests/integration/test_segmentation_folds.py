"""Folds of a segmentation of CT: each is planned by itself, and the ensemble lets each see by its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.integration.conftest import TINY_MASKS, Ran


def test_folds_of_other_intensities_are_one_ensemble(medtrain: Callable[..., Ran], folder: Path) -> None:
    swept = medtrain("-m", *TINY_MASKS, "data.folds=3", "data.fold=0,1,2", "hydra.sweep.dir=cv")
    assert swept.code == 0, swept.out + swept.err
    plans = [json.loads((folder / "cv" / str(n) / "run.json").read_text())["spec"] for n in range(3)]
    assert len({str(plan["intensity"]) for plan in plans}) == 3  # of CT: what masks mark in the training cases
    ran = medtrain("ensemble", "runs=cv/[012]", "hydra.run.dir=all")
    assert ran.code == 0, ran.out + ran.err
    metrics = json.loads((folder / "all" / "test_metrics.json").read_text())
    tables = [pd.read_csv(folder / "cv" / str(n) / "test_predictions.csv") for n in range(3)]
    pooled = pd.concat(tables)
    assert metrics["n_cases"] == len(pooled) == pooled["case"].nunique()
    assert metrics["metrics"]["dice"]["value"] == pytest.approx(pooled["dice_nodule"].mean())
    held = torch.load(folder / "all" / "checkpoints" / "best.ckpt", weights_only=True)["medtrain"]
    assert [spec["intensity"] for spec in held["member_specs"]] == [plan["intensity"] for plan in plans]

    tested = medtrain("test", "run=all", "data.phantom_seed=9", "data.patients=10", "name=outside")
    assert tested.code == 0, tested.out + tested.err
    outside = folder / "all" / "test_outside"
    table = pd.read_csv(outside / "test_predictions.csv")
    assert len(table) == json.loads((outside / "test_metrics.json").read_text())["n_cases"] > 0
    assert all((outside / mask).is_file() for mask in table["mask"])
    assert np.isfinite(table["volume_ml_nodule"]).all()
