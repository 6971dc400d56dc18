"""The AUROC within folds against scikit-learn's fold by fold, and where pooling folds misleads."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from medtrain.metric import Cases, EvalOptions, within_folds


def cases(p: np.ndarray, y: np.ndarray, patients: list[str]) -> Cases:
    return Cases(np.stack([1 - p, p], 1), np.stack([1 - y, y], 1).astype(float), np.eye(2)[y] > 0.5, "ny", patients)


def folds_of(p: np.ndarray, y: np.ndarray, fold: np.ndarray, patients: list[str]) -> list[Cases]:
    rows = [np.flatnonzero(fold == k) for k in np.unique(fold)]
    return [cases(p[r], y[r], [patients[n] for n in r]) for r in rows]


def study(offset: float, n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Five folds of one network each, all with an AUROC of 0.80, whose log-odds lie apart."""
    rng = np.random.default_rng(seed)
    y, fold = (rng.random(n) < 0.4).astype(int), np.arange(n) % 5
    apart = np.array([-1.5, -0.5, 0.0, 0.5, 1.5]) * offset
    return expit(rng.normal(1.2 * y, 1) + apart[fold]), y, fold, [f"p{i // 2}" for i in range(n)]


def test_folds_are_weighted_by_their_pairs_and_a_fold_of_one_class_has_none() -> None:
    p = np.array([0.1, 0.4, 0.4, 0.9, 0.2, 0.3, 0.05, 0.99])
    y = np.array([0, 1, 0, 1, 1, 0, 0, 1])
    fold = np.array([0, 0, 0, 0, 1, 1, 2, 3])
    # fold 0: 0.4 over 0.1, a tie with 0.4, 0.9 over both: 3.5 of 4 pairs; fold 1: 0 of 1; the others none
    result = within_folds(folds_of(p, y, fold, list("abcdefgh")), cases(p, y, list("abcdefgh")), [1], EvalOptions(0))
    assert result["auroc"] == {"value": pytest.approx(3.5 / 5), "ci95": None}
    assert result["pooled_minus_within"]["value"] == pytest.approx(roc_auc_score(y, p) - 0.7)
    none = within_folds([cases(p[6:7], y[6:7], ["g"])], cases(p, y, list("abcdefgh")), [1], EvalOptions(20))
    assert none["auroc"] == {"value": None, "ci95": None}


def test_replicates_draw_patients_as_a_plain_loop_does() -> None:
    p, y, fold, patients = study(1.0, n=120)
    result = within_folds(folds_of(p, y, fold, patients), cases(p, y, patients), [1], EvalOptions(400))
    names, index = np.unique(patients, return_inverse=True)
    rng, plain = np.random.default_rng(1), []
    for _ in range(150):
        weight = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))[index].astype(float)
        right = pairs = 0.0
        for k in range(5):
            own = fold == k
            share = weight[own & (y == 1)].sum() * weight[own & (y == 0)].sum()
            right += share * roc_auc_score(y[own], p[own], sample_weight=weight[own]) if share else 0
            pairs += share
        plain.append(right / pairs)
    low, high = result["auroc"]["ci95"]
    assert low == pytest.approx(np.percentile(plain, 2.5), abs=0.03)
    assert high == pytest.approx(np.percentile(plain, 97.5), abs=0.03)


def test_folds_of_other_calibration_lower_the_pooled_auroc_alone() -> None:
    def measured(offset: float) -> tuple[float, float, list[float]]:
        p, y, fold, patients = study(offset, n=2000, seed=3)
        result = within_folds(folds_of(p, y, fold, patients), cases(p, y, patients), [1], EvalOptions(100))
        difference = result["pooled_minus_within"]
        return result["auroc"]["value"], difference["value"], difference["ci95"]

    within, difference, (low, high) = measured(0.0)
    assert abs(difference) < 0.01 and low <= 0 <= high
    apart, lower, (_, high) = measured(1.0)
    assert apart == pytest.approx(within, abs=1e-12), "a shift of a fold changes no pair within it"
    assert lower < -0.06 and high < 0
