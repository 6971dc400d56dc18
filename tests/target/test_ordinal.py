"""Grades in order: how they are read, how outputs become probabilities, and how they are decided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.core.errors import UsageError
from medtrain.io.table import read_table
from medtrain.target.labels import labels_of
from medtrain.target.ordinal import Ordinal
from medtrain.target.reading import Labels

GRADES = ("1", "2", "3", "4")


def read(folder: Path, cells: list[str], **cfg: object) -> Labels:
    file = folder / "t.csv"
    pd.DataFrame({"grade": cells, "path": range(len(cells))}).to_csv(file, index=False)
    return labels_of(read_table(file), {"label": "grade"}, {"target": "ordinal", **cfg})


def test_numbers_order_themselves(tmp_path: Path) -> None:
    labels = read(tmp_path, ["10", "2", "1", "", "2.0"])
    assert labels.target == Ordinal(("1", "2", "10"))
    assert labels.values[[0, 1, 2, 4]].tolist() == [2, 1, 0, 1]
    assert [(row, problem.kind) for row, problem in labels.bad] == [(3, "missing_label")]
    assert [notice.kind for notice in labels.notices] == ["missing_grade"]


def test_names_need_an_order(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data.classes=\[high,low,mid\]"):
        read(tmp_path, ["low", "high", "mid"])
    labels = read(tmp_path, ["low", "high", "mid"], classes=["low", "mid", "high"])
    assert labels.values.tolist() == [0, 2, 1]


def test_two_grades_are_grades(tmp_path: Path) -> None:
    assert isinstance(read(tmp_path, ["0", "1", "1"]).target, Ordinal)


def test_too_many_numbers_are_a_quantity(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="data.target=value"):
        read(tmp_path, [str(n) for n in range(30)])


@pytest.mark.parametrize("head", ["softmax", "coral", "corn"])
def test_outputs_become_probabilities(head: str) -> None:
    target = Ordinal(GRADES).fitted_to(head)
    logits = np.random.default_rng(0).normal(0, 2, (50, target.n_outputs))
    probs = target.probabilities(logits)
    assert (probs >= 0).all() and np.allclose(probs.sum(1), 1)
    ours = target.probabilities_of(torch.from_numpy(logits))
    assert np.allclose(ours.numpy(), probs, atol=1e-12)
    assert torch.equal(target.decision_of(ours, torch.empty(0)), torch.from_numpy(target.decide(probs)))


def test_corn_multiplies_conditional_probabilities() -> None:
    odds = np.log(np.array([[0.8, 0.5, 0.25]]) / (1 - np.array([[0.8, 0.5, 0.25]])))
    probs = Ordinal(GRADES, "corn").probabilities(odds)
    assert probs[0] == pytest.approx([0.2, 0.4, 0.3, 0.1])


def test_the_median_grade_is_decided_for() -> None:
    probs = np.array([[0.4, 0.15, 0.15, 0.3], [0.1, 0.1, 0.1, 0.7], [0.5, 0.5, 0, 0]])
    assert Ordinal(GRADES).decide(probs).tolist() == [1, 3, 0]


@pytest.mark.parametrize(("head", "true"), [("coral", 2.0), ("corn", 2.0)])
def test_the_temperature_is_found(head: str, true: float) -> None:
    rng = np.random.default_rng(1)
    target = Ordinal(GRADES).fitted_to(head)
    score = rng.normal(0, 2, (4000, 1))
    logits = score + (np.array([[1.5, 0, -1.5]]) if head == "coral" else np.full((1, 3), 0.5))
    probs = target.probabilities(logits)
    values = (rng.uniform(size=(4000, 1)) > probs.cumsum(1)).sum(1).clip(0, 3)
    assert target.fit_temperature(logits * true, values) == pytest.approx(true, rel=0.1)
