"""What a report shows of quantities: figures, tables, words; and what compare says of two runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error

from medtrain.metric import EvalOptions
from medtrain.report import write_report
from medtrain.report.compared import read_compared
from medtrain.report.comparison import _difference
from medtrain.report.distribution import distribution
from medtrain.report.folder import read_folder
from medtrain.target import DataSpec, Decision
from medtrain.target.value import Value

TARGET = Value(("age",), "months", (100.0,), (20.0,))


def run_of(folder: Path, noise: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(7)
    truth = rng.normal(100, 20, (60, 1)).round(1)
    probs = truth + np.random.default_rng(seed).normal(0, noise, truth.shape)
    rows = pd.DataFrame({"case": [f"c{n}" for n in range(60)], "patient": [f"p{n // 2}" for n in range(60)]})
    predicted = TARGET.predictions(rows, probs[:, None], probs, [], truth)
    outcome = TARGET.judge(predicted, Decision(), EvalOptions(200))
    folder.mkdir()
    outcome.files["test_predictions.csv"].to_csv(folder / "test_predictions.csv", index=False)
    (folder / "test_metrics.json").write_text(json.dumps(outcome.metrics | {"split": "test"}))
    spec = DataSpec(TARGET, 1, (8, 8)).to_dict()
    targets, patients = truth, rows["patient"].to_numpy()
    own = distribution(DataSpec(TARGET, 1), targets, patients, np.array(["train"] * 60))
    (folder / "run.json").write_text(json.dumps({"spec": spec, "imbalance": own, "status": "finished", "seed": seed}))
    return probs


def test_the_page_has_the_figures_of_agreement(tmp_path: Path) -> None:
    run_of(tmp_path / "a", 5.0)
    page = write_report(tmp_path / "a").read_text(encoding="utf-8")
    for name in ("predicted_true", "bland_altman", "error_by_range"):
        assert (tmp_path / "a" / "plots" / f"{name}.png").is_file()
    for words in ("Mean absolute error", "Agreement (Bland and Altman)", "nothing is decided"):
        assert words in page
    assert "highest probability" not in page


def test_compare_tests_the_difference_of_errors(tmp_path: Path) -> None:
    one, two = run_of(tmp_path / "a", 3.0), run_of(tmp_path / "b", 9.0, 1)
    table = read_folder(tmp_path / "a").table
    assert table is not None
    truth = table["target"].astype(float).to_numpy()
    sides = [[read_compared(tmp_path / name)] for name in "ab"]
    entry = _difference(*sides, EvalOptions(500))["metrics"]["mae"]  # type: ignore[arg-type]
    wanted = mean_absolute_error(truth, two[:, 0]) - mean_absolute_error(truth, one[:, 0])
    assert entry["value"] == pytest.approx(wanted, abs=1e-9)
    assert entry["ci95"][0] > 0 and entry["p"] < 0.05


def test_the_distribution_is_numpys() -> None:
    values = np.array([[1.0], [2.0], [4.0], [np.nan]])
    patients, splits = np.array(["a", "a", "b", "c"]), np.array(["train"] * 4)
    row = distribution(DataSpec(Value(("x",)), 1), values, patients, splits)["train"]["x"]
    assert (row["images"], row["patients"], row["unknown"]) == (3, 2, 1)
    assert row["median"] == 2 and row["mean"] == pytest.approx(7 / 3)
