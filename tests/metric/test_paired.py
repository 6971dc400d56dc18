"""Paired differences: scikit-learn's on the same replicates, narrower than two intervals, honest where nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_1samp
from sklearn.metrics import accuracy_score, brier_score_loss, roc_auc_score

from medtrain.metric import holm, patient_weights, percentile_interval
from medtrain.metric.paired import Between, Seeds, bootstrap_p, least_p
from tests.metric.by_kind import evaluate, paired_differences

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]
REPLICATES = 60


def two_models(kind: str, n: int = 90, seed: int = 0):
    """Targets, two models that err alike (a shared part of the noise), patients of three cases."""
    rng = np.random.default_rng(seed)
    patients = [f"p{i // 3}" for i in range(n)]
    width = 2 if kind == "binary" else 3
    if kind == "multilabel":
        targets = (rng.random((n, width)) < 0.4).astype(float)
        signal = targets.copy()
        targets[rng.random((n, width)) < 0.15] = np.nan
    else:
        targets = rng.integers(0, width, n).astype(float)
        signal = np.eye(width)[targets.astype(int)]
    shared = rng.normal(size=(n, width))

    def judged(strength: float):
        logits = strength * signal + shared + 0.4 * rng.normal(size=(n, width))
        if kind == "multilabel":
            probs = 1 / (1 + np.exp(-logits + 0.7))
            return probs, (probs > 0.5).astype(int)
        probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return probs, probs.argmax(1)

    return targets, judged(0.8), judged(1.4), patients


def macro_auroc(target, probs, weights):
    """One class against the rest, the mean; labels that are unknown are left out."""
    areas = []
    for c in range(probs.shape[1]):
        y = target[:, c] if target.ndim == 2 else (target == c).astype(float)
        known = np.isfinite(y)
        areas.append(roc_auc_score(y[known], probs[known, c], sample_weight=weights[known]))
    return np.mean(areas)


METRICS: dict[tuple[str, str], Metric] = {
    ("binary", "auroc"): lambda y, p, d, w: roc_auc_score(y, p[:, 1], sample_weight=w),
    ("binary", "brier"): lambda y, p, d, w: brier_score_loss(y, p[:, 1], sample_weight=w),
    ("multiclass", "auroc"): lambda y, p, d, w: macro_auroc(y, p, w),
    ("multiclass", "accuracy"): lambda y, p, d, w: accuracy_score(y, d, sample_weight=w),
    ("multilabel", "auroc"): lambda y, p, d, w: macro_auroc(y, p, w),
}


@pytest.mark.parametrize(("kind", "name"), METRICS)
def test_replicates_are_scikit_learns_in_a_loop(kind: str, name: str) -> None:
    targets, one, other, patients = two_models(kind)
    classes = ["a", "b", "c"][: one[0].shape[1]]
    found = paired_differences(kind, targets, one, other, classes, patients, bootstrap=REPLICATES, seed=5)
    metric, entry = METRICS[kind, name], found["metrics"][name]
    ones = np.ones(len(targets))
    assert entry["value"] == pytest.approx(metric(targets, *other, ones) - metric(targets, *one, ones))
    differences = [
        metric(targets, *other, w) - metric(targets, *one, w)
        for weights in patient_weights(patients, len(targets), REPLICATES, seed=5)
        for w in weights
    ]
    np.testing.assert_allclose(entry["ci95"], percentile_interval(np.asarray(differences), patients=30), atol=1e-5)
    assert entry["p"] == pytest.approx(bootstrap_p(np.asarray(differences).round(9), 30))


def test_the_value_is_the_difference_of_two_evaluations() -> None:
    for kind in ("binary", "multiclass", "multilabel"):
        targets, one, other, patients = two_models(kind)
        classes = ["a", "b", "c"][: one[0].shape[1]]
        first, second = (evaluate(kind, p, targets, d, classes, patients, bootstrap=0) for p, d in (one, other))
        found = paired_differences(kind, targets, one, other, classes, patients, bootstrap=0)
        for name, entry in found["metrics"].items():
            assert entry["value"] == pytest.approx(second["metrics"][name]["value"] - first["metrics"][name]["value"])
            assert entry["ci95"] is None and entry["p"] is None
        assert found["per_class"]["b"].keys() == first["per_class"]["b"].keys() - {"ece_debiased"}


def test_models_that_err_alike_differ_surely_though_their_intervals_overlap() -> None:
    targets, one, other, patients = two_models("binary", 140)
    low, high = paired_differences("binary", targets, one, other, ["a", "b"], patients, 200)["metrics"]["auroc"]["ci95"]
    spans = [
        evaluate("binary", p, targets, d, ["a", "b"], patients, 200)["metrics"]["auroc"]["ci95"]
        for p, d in (one, other)
    ]
    assert spans[0][1] > spans[1][0] and low > 0
    assert high - low < 0.9 * np.hypot(*(b - a for a, b in spans))  # what two sets of patients would give


def test_a_model_against_itself_shows_nothing() -> None:
    targets, one, _, patients = two_models("multiclass")
    found = paired_differences("multiclass", targets, one, one, ["a", "b", "c"], patients, 50)["metrics"]
    assert {name: (e["value"], e["ci95"], e["p"]) for name, e in found.items()} == dict.fromkeys(
        found, (0.0, None, None)
    )
    assert "doesn't vary" in found["auroc"]["reason"]


def test_turned_round_the_difference_changes_its_sign() -> None:
    targets, one, other, patients = two_models("multilabel")
    ab, ba = (
        paired_differences("multilabel", targets, *pair, ["a", "b", "c"], patients, 200)["metrics"]["auprc"]
        for pair in ((one, other), (other, one))
    )
    assert ba["value"] == pytest.approx(-ab["value"]) and ba["p"] == ab["p"]
    np.testing.assert_allclose(ba["ci95"], [-ab["ci95"][1], -ab["ci95"][0]])


@pytest.mark.parametrize("patients", [5, 12, 1000])
def test_p_agrees_with_the_interval_and_is_never_zero(patients: int) -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 1.6, 1.9, 2.0, 2.3, 2.6, 3.3, 6.0):
        values = rng.normal(shift, 1, 4000)
        p, span = bootstrap_p(values, patients), percentile_interval(values, patients=patients)
        assert p is not None and span is not None and 0 < p <= 1
        assert (p < 0.05) == (span[0] > 0) or abs(p - 0.05) < 0.004
    assert bootstrap_p(np.full(99, 1.0), 10**6) == pytest.approx(2 / 100, rel=1e-3)
    assert bootstrap_p(np.full(5, np.nan), 9) is None


def test_p_of_a_normal_statistic_is_that_of_a_t_test() -> None:
    """The mean of 8 differences, one a patient: scipy's paired t test, but for the replicates' own chance."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        differences = rng.normal(0.7, 1, 8)
        means = rng.choice(differences, (20_000, 8)).mean(1)
        assert bootstrap_p(means, 8) == pytest.approx(ttest_1samp(differences, 0).pvalue, abs=0.04)


def test_p_is_small_one_time_in_twenty_where_nothing_differs() -> None:
    """Two models of equal worth, 60 times: the p of the AUROC is uniform enough at its lower end."""
    small = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        target = (rng.random(80) < 0.5).astype(float)
        models = [np.stack([-s, s], 1) for s in (rng.normal(size=80) + target for _ in range(2))]
        judged = [(m, (m[:, 1] > 0).astype(int)) for m in models]
        found = paired_differences("binary", target, *judged, ["0", "1"], None, 100)
        small += found["metrics"]["auroc"]["p"] < 0.05
    assert small <= 9


def test_undefined_stays_undefined() -> None:
    targets, one, other, patients = two_models("binary")
    found = paired_differences("binary", np.zeros(len(targets)), one, other, ["a", "b"], patients, 20)["metrics"]
    assert found["auroc"] == {"value": None, "ci95": None, "p": None}
    assert found["brier"]["value"] is not None


def test_holm_by_hand() -> None:
    """Holm 1979: the smallest of four counts fourfold, the next threefold, and the order is kept."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.02]) == [pytest.approx(0.5), None, pytest.approx(0.04)]
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def plain_delong(one: np.ndarray, other: np.ndarray, y: np.ndarray) -> float:
    """p by the formulas of DeLong, DeLong & Clarke-Pearson (1988), pair by pair."""
    kernels = []
    for score in (one, other):
        pos, neg = score[y == 1], score[y == 0]
        kernels.append((pos[:, None] > neg) + 0.5 * (pos[:, None] == neg))
    areas = [kernel.mean() for kernel in kernels]
    s10 = np.cov([kernel.mean(axis=1) for kernel in kernels])
    s01 = np.cov([kernel.mean(axis=0) for kernel in kernels])
    covariance = s10 / (y == 1).sum() + s01 / (y == 0).sum()
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return float(2 * norm.sf(abs(areas[1] - areas[0]) / np.sqrt(variance)))


def areas_of(seed: int, n: int, patients: list[str] | None) -> tuple[dict[str, Any], float]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(float)
    shared = rng.normal(y, 1)
    scores = [np.round(shared + rng.normal(0, 0.7, n), 1) for _ in range(2)]
    probs = [np.stack([-s, s], 1) for s in scores]
    decided = [(p, (p[:, 1] > 0.5).astype(int)) for p in probs]
    found = paired_differences("binary", y, *decided, ["0", "1"], patients, 0)
    return found["metrics"]["auroc"]["analytic"], plain_delong(*scores, y)


@pytest.mark.parametrize("seed", range(4))
def test_delong_is_the_plain_formula(seed: int) -> None:
    found, plain = areas_of(seed, 70, None)
    assert found["method"] == "DeLong" and found["p"] == pytest.approx(plain, rel=1e-9)


def test_cases_that_are_there_twice_say_no_more_by_obuchowski() -> None:
    rng = np.random.default_rng(7)
    y = (rng.random(60) < 0.4).astype(float)
    scores = [rng.normal(y, 1), rng.normal(1.5 * y, 1)]
    once, twice = [], []
    for times, into in ((1, once), (2, twice)):
        decided = [(np.stack([-s, s], 1).repeat(times, 0), (s > 0).astype(int).repeat(times)) for s in scores]
        patients = [f"p{i // times}" for i in range(60 * times)]
        found = paired_differences("binary", y.repeat(times), *decided, ["0", "1"], patients, 0)
        into.append(found["metrics"]["auroc"]["analytic"])
    assert twice[0]["method"] == "Obuchowski" and twice[0]["p"] == pytest.approx(once[0]["p"], rel=1e-6)


def test_few_patients_can_not_give_a_small_p() -> None:
    """Four patients of whom each favours the same model: a sign test's least p is 2 / 2^4."""
    values = np.random.default_rng(0).normal(5, 1, 2000)
    alone = bootstrap_p(values, 4)
    assert alone is not None and alone < 0.1 < least_p(4) == 0.125 == Between(5.0, values, 4).p()
    assert Between(5.0, values, 400).p() == bootstrap_p(values, 400)


def test_seeds_add_their_spread_to_that_of_patients() -> None:
    rng = np.random.default_rng(1)
    values_R, sides = rng.normal(0.1, 0.02, 4000), [np.array([0.70, 0.74, 0.72]), np.array([0.80, 0.84])]
    test = Seeds(0.1, values_R, 50, sides)
    parts = [values_R.var() * 50 / 49, 0.0004 / 3, 0.0008 / 2]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 49 + parts[1] ** 2 / 2 + parts[2] ** 2 / 1)
    half = t.ppf(0.975, freedom) * np.sqrt(sum(parts))
    assert test.limits() == pytest.approx((0.1 - half, 0.1 + half))
    assert test.p() == pytest.approx(2 * t.sf(0.1 / np.sqrt(sum(parts)), freedom))
    assert half > 1.96 * 0.02, "wider than patients alone"
