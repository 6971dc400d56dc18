"""Predictions of other folds put together, against the same arithmetic by hand and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from medtrain.core.errors import MedtrainError
from medtrain.metric import EvalOptions, fit_sets, spread_over
from medtrain.target import DataSpec, Decision
from medtrain.task.classification.out_of_fold import Fold, RunPredictions, fit_whole, judge_folds
from tests.metric.by_kind import predictions_table

SPEC = DataSpec.of("binary", ("no", "yes"), 1, (4, 4))
N = 40
Y = np.arange(N) % 2
DECISION = Decision(0.5, 1.0, {"yes": 0.5})
ORDER = [f"c{i}" for i in range(N)]


def said_by(file: Path, cases: list[int], p: np.ndarray) -> Path:
    rows = pd.DataFrame({"case": [f"c{i}" for i in cases], "patient": [f"p{i // 2}" for i in cases]})
    predictions_table(SPEC, rows, np.stack([1 - p, p], 1), (p > 0.5).astype(int), Y[cases]).to_csv(file, index=False)
    return file


def as_folds(*repeats: list[RunPredictions]) -> list[Fold]:
    """The folds of some cross-validations by what they tested; nothing is tuned here."""
    return [Fold(r, k, part, part) for r, parts in enumerate(repeats) for k, part in enumerate(parts)]


@pytest.fixture
def drawn() -> np.ndarray:
    """Two runs' probabilities for each of two cross-validations."""
    return np.clip(np.random.default_rng(1).normal(0.3 + 0.3 * Y, 0.2, (4, N)), 0.01, 0.99)


def test_seeds_of_a_fold_are_averaged_and_judged_by_the_folds_own_threshold(drawn: np.ndarray, tmp_path: Path) -> None:
    folds, limits = [list(range(0, N, 3)), sorted({*range(N)} - {*range(0, N, 3)})], [0.3, 0.6]
    parts = []
    for k, (cases, limit) in enumerate(zip(folds, limits, strict=True)):
        files = [said_by(tmp_path / f"{k}{s}.csv", cases[:: 1 - 2 * s], drawn[s, cases[:: 1 - 2 * s]]) for s in (0, 1)]
        parts.append(RunPredictions.read(files, SPEC.target, {"yes": limit}))
    outcome = judge_folds(SPEC.target, as_folds(parts), DECISION, ORDER, EvalOptions(20))
    p = drawn[:2].mean(0)
    predicted = np.where(np.arange(N) % 3 == 0, p >= 0.3, p >= 0.6)
    table = outcome.files["test_predictions.csv"]
    np.testing.assert_allclose(table["prob_yes"], p)
    assert (table["prediction"] == np.where(predicted, "yes", "no")).all()
    np.testing.assert_allclose(table["uncertainty"], drawn[:2].std(0, ddof=1))
    metrics = outcome.metrics
    assert metrics["n_cases"] == N and metrics["n_patients"] == N // 2 and metrics["abstention"]["by"] == "ensemble"
    assert metrics["metrics"]["auroc"]["value"] == pytest.approx(roc_auc_score(Y, p))
    assert metrics["metrics"]["accuracy"]["value"] == pytest.approx(accuracy_score(Y, predicted))
    values = [roc_auc_score(Y[cases], p[cases]) for cases in folds]
    found = metrics["folds"]["auroc"]
    assert found["values"] == pytest.approx(values) and found["mean"] == pytest.approx(np.mean(values))
    assert found["sd"] == pytest.approx(np.std(values, ddof=1)) and metrics["repeats"] is None


def test_repeats_have_a_mean_and_a_spread(drawn: np.ndarray, tmp_path: Path) -> None:
    repeats: list[list[RunPredictions]] = []
    for r, halves in enumerate([(range(0, 20), range(20, N)), (range(0, N, 2), range(1, N, 2))]):
        repeats.append(
            [
                RunPredictions.read(
                    [said_by(tmp_path / f"{r}{k}.csv", list(half), drawn[r, list(half)])], SPEC.target, {"yes": t}
                )
                for k, (half, t) in enumerate(zip(halves, (0.2, 0.4), strict=True))
            ]
        )
    outcome = judge_folds(SPEC.target, as_folds(*repeats[:1]), DECISION, ORDER, EvalOptions(0))
    assert outcome.metrics["abstention"]["by"] == "confidence" and "uncertainty" not in outcome.files
    whole = judge_folds(SPEC.target, as_folds(*repeats), DECISION, ORDER, EvalOptions(0))
    spread = whole.metrics["repeats"]["auroc"]
    assert spread["values"] == pytest.approx([roc_auc_score(Y, drawn[r]) for r in (0, 1)])
    assert whole.metrics["metrics"]["auroc"]["value"] == pytest.approx(roc_auc_score(Y, drawn[:2].mean(0)))
    first, second = np.where(np.arange(N) < 20, 0.2, 0.4), np.where(np.arange(N) % 2 == 0, 0.2, 0.4)
    predicted = drawn[:2].mean(0) >= (first + second) / 2
    table = whole.files["test_predictions.csv"]
    assert ((table["prediction"] == "yes") == predicted).all()
    assert len(whole.metrics["folds"]["auroc"]["values"]) == 4  # the halves with one class only have none
    assert whole.metrics["folds"]["auroc"]["values"][2:] == [None, None]


def test_tables_of_other_cases_are_refused(drawn: np.ndarray, tmp_path: Path) -> None:
    files = [said_by(tmp_path / f"{k}.csv", cases, drawn[0, cases]) for k, cases in enumerate([[0, 1, 2], [0, 1, 3]])]
    with pytest.raises(MedtrainError, match="3 cases"):
        RunPredictions.read(files, SPEC.target)


def test_spread_leaves_out_what_is_undefined() -> None:
    assert spread_over([{"auroc": 0.5}]) is None
    found = spread_over([{"a": 0.5, "b": None}, {"a": 0.7, "b": None}, {"a": None, "b": 1.0}])
    assert found is not None and found["a"]["mean"] == pytest.approx(0.6) and found["a"]["values"] == [0.5, 0.7, None]
    assert found["b"] == {"mean": 1.0, "sd": None, "values": [None, None, 1.0]}


def test_seeds_of_one_split_fit_on_the_mean_of_their_validation(drawn: np.ndarray, tmp_path: Path) -> None:
    files = [said_by(tmp_path / f"{s}.csv", list(range(N)), drawn[s]) for s in range(4)]
    tuned = RunPredictions.read(files, SPEC.target)
    whole = fit_whole(SPEC.target, [Fold(0, None, tuned, tuned)], ORDER, "sensitivity@0.9", EvalOptions(20))
    mean = np.sort(drawn.mean(0)[Y == 1])[::-1]
    assert whole.thresholds == {"yes": pytest.approx(mean[17])} and whole.basis == "validation data"
    told = whole.validation["yes"]
    assert told["positive"] == told["negative"] == N // 2 and told["sensitivity"]["value"] == 0.9


def cross_validated(tmp_path: Path, odds: np.ndarray, y: np.ndarray, policy: str) -> list[Fold]:
    """Five folds, the next one validating, whose networks say `odds` [N, 5]."""
    folds = []
    for k in range(5):
        tested, tuned = np.flatnonzero(np.arange(len(y)) % 5 == k), np.flatnonzero(np.arange(len(y)) % 5 == (k + 1) % 5)
        parts = []
        for cases in (tuned, tested):
            p = 1 / (1 + np.exp(-odds[cases, k]))
            rows = pd.DataFrame({"case": [f"c{i}" for i in cases], "patient": [f"p{i}" for i in cases]})
            table = predictions_table(SPEC, rows, np.stack([1 - p, p], 1), (p > 0.5).astype(int), y[cases])
            table.to_csv(tmp_path / "one.csv", index=False)
            limits = None if not parts else SPEC.target.fit_thresholds(parts[0].probs_NSC[:, 0], y[tuned], policy)
            parts.append(RunPredictions.read([tmp_path / "one.csv"], SPEC.target, limits))
        folds.append(Fold(0, k, parts[0].decided_by(SPEC.target, limits or {}), parts[1]))
    return folds


def test_the_threshold_of_a_cross_validation_is_for_the_mean_of_its_networks(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)

    def study(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = (rng.random(n) < 0.4).astype(int)
        return y, rng.normal(2.0 * y, 1, n)[:, None] + rng.normal(0, 1, (n, 5))

    y, odds = study(1500)
    folds = cross_validated(tmp_path, odds, y, "sensitivity@0.95")
    order = [f"c{i}" for i in range(len(y))]
    decision = fit_whole(SPEC.target, folds, order, "sensitivity@0.95", EvalOptions(20))
    new, all_of_new = study(20_000)
    p = (1 / (1 + np.exp(-all_of_new))).mean(axis=1)
    assert (p[new == 1] >= decision.thresholds["yes"]).mean() == pytest.approx(0.95, abs=0.02)
    expected = decision.validation["yes"]
    assert expected["sensitivity"]["value"] == pytest.approx(0.95, abs=0.001) and expected["positive"] == y.sum()
    assert expected["specificity"]["value"] == pytest.approx(
        (p[new == 0] < decision.thresholds["yes"]).mean(), abs=0.05
    )
    assert "2 of 5 a case" in decision.basis

    metrics = judge_folds(SPEC.target, folds, decision, order, EvalOptions(50)).metrics
    told = metrics["cross_validation"]["folds"]
    assert next(iter(metrics["metrics"])) == "auroc_within_folds" and [fold["fold"] for fold in told] == [*range(5)]
    for fold, one in zip(folds, told, strict=True):
        decided = fold.tested.probs_NSC[:, 0, 1] >= one["thresholds"]["yes"]
        positive = fold.tested.values == 1
        assert one["n_cases"] == len(positive) and one["events"] == {"no": (~positive).sum(), "yes": positive.sum()}
        assert one["metrics"]["sensitivity"] == pytest.approx(decided[positive].mean())
        assert one["metrics"]["auroc"] == pytest.approx(roc_auc_score(positive, fold.tested.probs_NSC[:, 0, 1]))
    point = metrics["operating_point"]["yes"]
    tuned = [(fold.tuned.probs_NSC[:, 0, 1] >= fold.tuned.limits_NT[:, 0])[fold.tuned.values == 1] for fold in folds]
    assert point["validation"]["sensitivity"]["value"] == pytest.approx(np.concatenate(tuned).mean())
    assert point["asked"] == {"metric": "sensitivity", "value": 0.95} and point["validation"]["positive"] == y.sum()
    assert point["short_by"] == pytest.approx(max(0, 0.95 - metrics["metrics"]["sensitivity"]["value"]))
    pairs = [one["events"]["no"] * one["events"]["yes"] for one in told]
    mean = np.average([one["metrics"]["auroc"] for one in told], weights=pairs)
    assert metrics["metrics"]["auroc_within_folds"]["value"] == pytest.approx(mean)


def test_an_ensemble_of_one_split_has_sets_of_its_mean_a_cross_validations_says_why_not(tmp_path: Path) -> None:
    """The limits are those of the mean over the networks; ten patients of each class are enough for some."""
    p = np.clip(np.random.default_rng(4).normal(0.3 + 0.3 * Y, 0.2, (2, N)), 0.01, 0.99)
    tuned = RunPredictions.read([said_by(tmp_path / f"{s}.csv", list(range(N)), p[s]) for s in (0, 1)], SPEC.target)
    tuned = tuned.decided_by(SPEC.target, {"yes": 0.5})
    folds = [Fold(0, None, tuned, tuned)]
    whole = fit_whole(SPEC.target, folds, ORDER, 0.5, EvalOptions(20))
    alone = fit_sets(np.stack([1 - p.mean(0), p.mean(0)], 1), np.eye(2)[Y], [f"p{i // 2}" for i in range(N)])
    assert list(whole.sets.values()) == pytest.approx(alone) and min(alone) > 0
    outcome = judge_folds(SPEC.target, folds, whole, ORDER, EvalOptions(20))
    table = outcome.files["test_prediction_sets.csv"]
    assert [("yes" in cell) for cell in table["set"]] == (p.mean(0) >= whole.sets["yes"]).tolist()
    assert set(outcome.metrics["prediction_sets"]["coverage"]) == {"no", "yes"}
    odds = np.random.default_rng(5).normal(2.0 * Y[:, None], 1, (N, 5))
    crossed = fit_whole(SPEC.target, cross_validated(tmp_path, odds, Y, 0.5), ORDER, 0.5, EvalOptions(20))
    assert crossed.sets == {} and "cross-validation" in crossed.no_sets
