"""Masks of a cross-validation, put together from the tables that its runs wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.metric import EvalOptions
from medtrain.metric.mask_overlap import MEASURED, evaluate_masks, measure, values_of
from medtrain.metric.mask_table import columns_of, measured_in
from medtrain.task.segmentation.out_of_fold import MaskJudge, judge_masks

CLASSES = ("a", "b")


def measured(cases: int, seed: int = 0) -> np.ndarray:
    """Measure drawn masks, some of them empty, of two classes."""
    rng = np.random.default_rng(seed)
    masks = rng.random((2, cases, 2, 5, 6, 7)) < np.where(rng.random((2, cases, 2, 1, 1, 1)) < 0.2, 0, 0.5)
    rows = [
        [measure(p, t, (3.0, 1.0, 0.5), 2.0) for p, t in zip(*pair, strict=True)] for pair in zip(*masks, strict=True)
    ]
    return np.array(rows)


def written(folder: Path, names: list[str], rows: np.ndarray) -> Path:
    folder.mkdir()
    table = pd.DataFrame({"case": names, "patient": names, "mask": "m.nii.gz"})
    outcome = judge_masks(table, rows, CLASSES, EvalOptions(0), 2.0)
    outcome.files["test_predictions.csv"].to_csv(folder / "test_predictions.csv", index=False)
    return folder


def test_columns_are_read_back() -> None:
    rows = measured(12)
    again = measured_in(columns_of(rows, CLASSES), CLASSES)
    assert again is not None
    for c in range(2):
        own, back = values_of(rows[:, c]), values_of(again[:, c])
        for metric, values in own.items():
            np.testing.assert_allclose(back[metric], values, rtol=1e-12)
    np.testing.assert_array_equal(again[..., MEASURED.index("lesions") :], rows[..., MEASURED.index("lesions") :])
    assert measured_in({"case": ["x"], "prob_a": [0.5]}, CLASSES) is None


def test_folds_are_judged_as_one_set(tmp_path: Path) -> None:
    rows, names = measured(12), [f"c{n}" for n in range(12)]
    folders = [written(tmp_path / f"f{n}", names[4 * n : 4 * n + 4], rows[4 * n : 4 * n + 4]) for n in range(3)]
    judge, options = MaskJudge(CLASSES, 2.0), EvalOptions(bootstrap=100)
    folds = [judge.fold(0, n, [folder], "argmax") for n, folder in enumerate(folders)]
    order = names[::-1]
    decision = judge.fit_whole(folds, order, "argmax", options)
    outcome = judge.judge(folds, decision, order, options)
    whole = evaluate_masks(rows[::-1], CLASSES, order, options)
    for name, entry in whole["metrics"].items():
        assert outcome.metrics["metrics"][name]["value"] == pytest.approx(entry["value"]), name
        assert outcome.metrics["metrics"][name]["ci95"] == pytest.approx(entry["ci95"]), name
    assert outcome.metrics["n_cases"] == 12 and outcome.metrics["empty_masks"] == whole["counts"]
    facts = outcome.metrics["cross_validation"]["folds"]
    assert [fold["n_cases"] for fold in facts] == [4, 4, 4]
    values = [fold["metrics"]["dice"] for fold in facts]
    assert outcome.metrics["folds"]["dice"]["mean"] == pytest.approx(np.mean(values))
    assert outcome.files["test_predictions.csv"]["case"].tolist() == order


def test_what_cannot_be_put_together_is_refused(tmp_path: Path) -> None:
    rows, names = measured(4), list("wxyz")
    folder, judge = written(tmp_path / "f", names, rows), MaskJudge(CLASSES, 2.0)
    with pytest.raises(UsageError, match="one run a fold"):
        judge.fold(0, None, [folder, folder], "argmax")
    with pytest.raises(UsageError, match="one run a fold"):
        judge.fold(1, 0, [folder], "argmax")
    with pytest.raises(MedtrainError, match="lacks the metrics of a, c"):
        MaskJudge(("a", "c"), 2.0).fold(0, 0, [folder], "argmax")
    folds = [judge.fold(0, 0, [folder], "argmax")]
    decision = judge.fit_whole(folds, names, "argmax", EvalOptions(0))
    with pytest.raises(MedtrainError, match="not of the 3"):
        judge.judge(folds, decision, names[:3], EvalOptions(0))
