"""Weighted kappa against scikit-learn, in the data and in a replicate drawn in earnest."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from medtrain.metric import ExclusiveSheet
from medtrain.metric.bootstrap import patient_counts
from medtrain.target import target_of


def grades(seed: int, n: int = 200, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    values = draw.integers(0, classes, n)
    return values, np.clip(values + draw.integers(-2, 3, n) * (draw.random(n) < 0.5), 0, classes - 1)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_scikit_learns(seed: int) -> None:
    values, decided = grades(seed)
    probs = 0.6 * np.eye(5)[decided] + 0.08
    target = target_of("multiclass")(tuple("01234"))
    found = target.evaluate(probs, values, decided, [str(n // 2) for n in range(200)], bootstrap=200)["metrics"]
    for weights in ("linear", "quadratic"):
        expected = cohen_kappa_score(values, decided, weights=weights)
        entry = found[f"kappa_{weights}"]
        assert entry["value"] == pytest.approx(expected) and entry["ci95"][0] < expected < entry["ci95"][1]
    assert found["kappa"]["value"] == pytest.approx(cohen_kappa_score(values, decided))


def test_a_replicate_is_the_kappa_of_the_cases_drawn() -> None:
    values, decided = grades(7, 60, 4)
    patient_N = np.arange(60) // 3
    sheet = ExclusiveSheet(np.eye(4)[decided], np.eye(4)[values], np.eye(4)[decided] > 0, list("abcd"))
    drawn = sheet.replicates(patient_N, 20, 30, 0)[None, "kappa_quadratic"]
    (counts_RP,) = patient_counts(20, 30, 0)
    for value, counts in zip(drawn, counts_RP, strict=True):
        at = np.repeat(np.arange(60), counts[patient_N])
        assert value == pytest.approx(cohen_kappa_score(values[at], decided[at], weights="quadratic"), abs=1e-5)


def test_without_errors_it_is_one_and_its_interval_has_width() -> None:
    values = np.repeat(np.arange(3), 10)
    target = target_of("multiclass")(("a", "b", "c"))
    found = target.evaluate(0.7 * np.eye(3)[values] + 0.1, values, values, bootstrap=100)
    entry = found["metrics"]["kappa_quadratic"]
    assert entry["value"] == 1 and entry["ci95"][0] < 0.95 and entry["ci95"][1] == 1
