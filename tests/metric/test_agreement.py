"""Metrics of quantities, against scikit-learn, scipy, statsmodels and hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, mean_squared_error, r2_score

from medtrain.core.errors import MedtrainError
from medtrain.metric import Agreement, Cases, EvalOptions, Measurements, OrderedSheet, evaluate, evaluate_values
from medtrain.metric.agreement import agreement, predicted_intervals


def sample(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(100, 15, n).round()  # with ties
    return truth + rng.normal(2, 6, n).round(1), truth


def values_of(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    cases = Measurements(predicted[:, None], truth[:, None], ("x",))
    return {metric: value for (_, metric), value in Agreement(cases, EvalOptions(0)).values.items()}


def test_every_metric_is_its_reference() -> None:
    predicted, truth = sample()
    error = predicted - truth
    covariance = np.cov(predicted, truth, ddof=0)
    lin = 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + error.mean() ** 2)
    wanted = {
        "mae": mean_absolute_error(truth, predicted),
        "rmse": mean_squared_error(truth, predicted) ** 0.5,
        "r2": r2_score(truth, predicted),
        "pearson": stats.pearsonr(predicted, truth)[0],
        "spearman": stats.spearmanr(predicted, truth)[0],
        "concordance": lin,
        "bias": error.mean(),
        "loa_low": error.mean() - stats.norm.ppf(0.975) * error.std(ddof=1),
        "loa_high": error.mean() + stats.norm.ppf(0.975) * error.std(ddof=1),
    }
    assert values_of(predicted, truth) == pytest.approx(wanted, abs=1e-9)


def test_lins_own_kind_of_example() -> None:
    # means 2 and 3, variances 2/3 each, covariance 2/3: 2 * 2/3 / (2/3 + 2/3 + 1)
    assert values_of(np.array([2.0, 3, 4]), np.array([1.0, 2, 3]))["concordance"] == pytest.approx(4 / 7, abs=1e-12)


def test_weights_are_repeated_cases() -> None:
    predicted, truth = sample(25)
    weights = np.random.default_rng(1).integers(0, 4, len(truth)).astype(float)
    repeated = np.repeat(np.arange(len(truth)), weights.astype(int))
    drawn = agreement(weights[None], predicted, truth)
    again = values_of(predicted[repeated], truth[repeated])
    assert {name: float(value[0]) for name, value in drawn.items()} == pytest.approx(again, abs=1e-9)


@pytest.mark.parametrize("name", ["r2", "pearson", "spearman"])
def test_a_constant_has_no_correlation(name: str) -> None:
    truth = np.full(10, 0.1) * 3
    assert np.isnan(values_of(np.arange(10.0), truth)[name])


def test_far_from_zero_no_digits_are_lost() -> None:
    predicted, truth = sample()
    near, far = values_of(predicted, truth), values_of(predicted + 1e7, truth + 1e7)
    assert far["pearson"] == pytest.approx(near["pearson"], abs=1e-9)
    assert far["concordance"] == pytest.approx(near["concordance"], abs=1e-9)


def test_perfect_predictions_have_no_interval_of_width_zero() -> None:
    truth = np.arange(30.0)
    entry = evaluate_values(Measurements(truth[:, None], truth[:, None], ("x",)), EvalOptions(200))["metrics"]["mae"]
    assert entry["value"] == 0 and entry["ci95"] is None and entry["reason"]


def test_patients_widen_intervals() -> None:
    rng = np.random.default_rng(3)
    truth = np.repeat(rng.normal(0, 3, 20), 8)
    predicted = truth + np.repeat(rng.normal(0, 1, 20), 8)  # an error a patient
    patients = np.repeat(np.arange(20), 8).tolist()
    widths = []
    for own in (patients, None):
        cases = Measurements(predicted[:, None], truth[:, None], ("x",), own)
        low, high = evaluate_values(cases, EvalOptions(500))["metrics"]["mae"]["ci95"]
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


def test_several_quantities_and_unknown_values() -> None:
    predicted, truth = sample()
    both = np.stack([truth, truth * 2], 1)
    both[:10, 1] = np.nan
    results = evaluate_values(Measurements(np.stack([predicted] * 2, 1), both, ("a", "b")), EvalOptions(0))
    assert results["per_class"]["b"]["mae"]["value"] == pytest.approx(
        mean_absolute_error(truth[10:] * 2, predicted[10:]), abs=1e-9
    )
    assert set(results["metrics"]) == {"concordance", "pearson", "spearman", "r2"}  # no mean of two units
    mean = np.mean([results["per_class"][name]["pearson"]["value"] for name in "ab"])
    assert results["metrics"]["pearson"]["value"] == pytest.approx(mean)


def test_groups_are_judged_alone() -> None:
    predicted, truth = sample()
    groups = {"sex": ["M", "F"] * 30}
    results = evaluate_values(Measurements(predicted[:, None], truth[:, None], ("x",)), EvalOptions(0, groups=groups))
    own = results["groups"]["sex"]["M"]
    assert own["n_cases"] == 30
    assert own["metrics"]["mae"]["value"] == pytest.approx(mean_absolute_error(truth[::2], predicted[::2]))


def test_predicted_intervals_are_counted() -> None:
    truth, sd = np.zeros((4, 1)), np.ones((4, 1))
    predicted = np.array([[0.0], [1.0], [1.9], [3.0]])
    rows = predicted_intervals(Measurements(predicted, truth, ("x",), None, sd))["x"]
    assert [(row["level"], row["covered"]) for row in rows] == [(0.5, 0.25), (0.8, 0.5), (0.9, 0.5), (0.95, 0.75)]


def test_predictions_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(MedtrainError, match="diverge"):
        Measurements(np.array([[np.nan]]), np.zeros((1, 1)), ("x",))


def test_metrics_of_grades_are_their_references() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, 80)
    decided = np.clip(truth + rng.integers(-1, 3, 80), 0, 3)
    eye = np.eye(4)
    probs = 0.7 * eye[decided] + 0.075
    cases = Cases(probs, eye[truth], eye[decided] > 0, ("0", "1", "2", "3"))
    metrics = evaluate(cases, OrderedSheet, EvalOptions(200))["metrics"]
    wanted = {
        "kappa_quadratic": cohen_kappa_score(truth, decided, weights="quadratic"),
        "kappa_linear": cohen_kappa_score(truth, decided, weights="linear"),
        "mae_grades": mean_absolute_error(truth, decided),
        "within_one": float((np.abs(truth - decided) <= 1).mean()),
    }
    assert {name: metrics[name]["value"] for name in wanted} == pytest.approx(wanted, abs=1e-9)
    for name, value in wanted.items():
        low, high = metrics[name]["ci95"]
        assert low < value < high
