"""Quantities of a cross-validation and of an ensemble: from the files of the runs to one result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.metric import EvalOptions
from medtrain.model import Ensemble
from medtrain.target import DataSpec, Decision
from medtrain.target.value import Value
from medtrain.task.classification import Classification
from medtrain.task.classification.out_of_fold import ClassJudge

TARGET = Value(("age",), "months", (100.0,), (20.0,))


def write(folder: Path, name: str, cases: list[int], noise: np.ndarray) -> None:
    truth = 80.0 + 2.5 * np.array(cases)[:, None]
    probs = truth + noise[cases][:, None]
    rows = pd.DataFrame({"case": [f"c{n}" for n in cases], "patient": [f"p{n}" for n in cases]})
    predicted = TARGET.predictions(rows, probs[:, None], probs, [], truth)
    folder.mkdir(exist_ok=True)
    TARGET.table(predicted).to_csv(folder / f"{name}_predictions.csv", index=False)


def test_folds_are_judged_together(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 4, 24)
    parts = [list(range(n, 24, 3)) for n in range(3)]
    for n, part in enumerate(parts):
        write(tmp_path / str(n), "test", part, noise)
        write(tmp_path / str(n), "val", parts[(n + 1) % 3], noise)
    judge, order = ClassJudge(TARGET), [f"c{n}" for n in range(24)]
    folds = [judge.fold(0, n, [tmp_path / str(n)], 0.5) for n in range(3)]
    decision = judge.fit_whole(folds, order, 0.5, EvalOptions(200))
    outcome = judge.judge(folds, decision, order, EvalOptions(200))
    assert outcome.metrics["metrics"]["mae"]["value"] == pytest.approx(np.abs(noise).mean(), abs=1e-9)
    assert outcome.metrics["metrics"]["mae"]["ci95"]
    assert len(outcome.metrics["cross_validation"]["folds"]) == 3
    own = np.array([np.abs(noise[part]).mean() for part in parts])
    assert outcome.metrics["folds"]["mae"]["mean"] == pytest.approx(own.mean())
    assert decision.thresholds == {} and outcome.files["test_predictions.csv"]["case"].tolist() == order


def test_runs_of_one_split_are_averaged_with_their_spread(tmp_path: Path) -> None:
    noises = np.random.default_rng(1).normal(0, 4, (2, 12))
    for n in range(2):
        for name in ("val", "test"):
            write(tmp_path / str(n), name, list(range(12)), noises[n])
    judge, order = ClassJudge(TARGET), [f"c{n}" for n in range(12)]
    fold = judge.fold(0, None, [tmp_path / "0", tmp_path / "1"], 0.5)
    outcome = judge.judge([fold], judge.fit_whole([fold], order, 0.5, EvalOptions(0)), order, EvalOptions(0))
    table = outcome.files["test_predictions.csv"]
    assert outcome.metrics["metrics"]["mae"]["value"] == pytest.approx(np.abs(noises.mean(0)).mean(), abs=1e-9)
    assert np.allclose(table["uncertainty"], noises.std(0, ddof=1))


def test_each_member_is_read_by_its_own_training_split() -> None:
    other = Value(("age",), "months", (0.0,), (1.0,))
    networks = [torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)]
    task = Classification(
        DataSpec(TARGET, 1, (2, 2)), Ensemble(networks, specs=[DataSpec(own, 1, (2, 2)) for own in (TARGET, other)])
    )
    seen = [{"case": torch.tensor([0]), "logits": torch.tensor([[[0.5], [0.5]]]), "y": torch.tensor([[90.0]])}]
    cases = pd.DataFrame({"case": ["a"], "patient": ["a"]})
    predicted = task.predicted(seen, cases, Decision())
    assert predicted.probs[0, 0] == pytest.approx((110 + 0.5) / 2)
