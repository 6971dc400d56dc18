"""The calibration error without bias: against the truth of simulated models, and sums worked by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from medtrain.metric.calibration import Reliability
from medtrain.metric.debiased import calibration_error
from tests.metric.by_kind import evaluate


def study(rng, n, stretch, images=1):
    """Predictions whose logits are too large by a factor, and what came true."""
    logit = np.repeat(rng.normal(-0.5, 1.2, n), images)
    target = np.repeat(rng.random(n), images) < 1 / (1 + np.exp(-logit))  # images of a patient have one truth
    return 1 / (1 + np.exp(-stretch * logit)), target.astype(float), np.repeat(np.arange(n), images)


def true_error(stretch, cuts):
    """Of half a million cases in the same bins."""
    logit = np.sort(np.random.default_rng(9).normal(-0.5, 1.2, 500_000))
    probs = 1 / (1 + np.exp(-stretch * logit))
    residual = 1 / (1 + np.exp(-logit)) - probs
    places = np.concatenate([[0], np.searchsorted(probs, cuts), [len(probs)]])
    return sum(abs(residual[a:b].sum()) for a, b in pairwise(places)) / len(probs)


@pytest.mark.parametrize(("stretch", "n", "images"), [(1.0, 150, 1), (2.5, 150, 1), (1.0, 40, 6), (2.0, 60, 4)])
def test_its_interval_holds_the_error_of_many_cases(stretch, n, images):
    rng, held, values, plain, truths = np.random.default_rng(0), [], [], [], []
    for _ in range(60):
        probs, target, patients = study(rng, n, stretch, images)
        bins = Reliability(probs, target)
        error = calibration_error(bins, patients, n)
        truth = true_error(stretch, [probs[bins.bin_N == b].min() for b in np.unique(bins.bin_N)[1:]])
        held.append(error.limits[0] <= truth <= error.limits[1])
        values.append(error.value)
        plain.append(error.plain)
        truths.append(truth)
    assert np.mean(held) >= 0.86
    assert abs(np.mean(values) - np.mean(truths)) < 0.5 * abs(np.mean(plain) - np.mean(truths))


def test_a_calibrated_model_shows_what_is_expected_of_it():
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(80):
        probs, target, patients = study(rng, 200, 1.0)
        errors.append(calibration_error(Reliability(probs, target), patients, 200))
    assert np.mean([error.plain for error in errors]) == pytest.approx(
        np.mean([error.if_calibrated for error in errors]), rel=0.08
    )
    assert np.median([error.value for error in errors]) < 0.02 < np.mean([error.plain for error in errors])


def test_what_a_calibrated_model_would_show_by_hand():
    """Two bins of 50 cases of p = 0.5: a bin's deviation has variance 50 / 4 / 100^2; E|normal| is sd sqrt(2 / pi)."""
    probs = np.repeat([0.5, 0.5 + 1e-9], 50)
    error = calibration_error(Reliability(probs, np.arange(100) % 2, bins=2), np.arange(100), 100)
    assert error.if_calibrated == pytest.approx(2 * np.sqrt(50 / 4) / 100 * np.sqrt(2 / np.pi), rel=1e-6)
    assert error.plain == pytest.approx(0, abs=1e-6) and error.value == 0 and error.limits[0] == 0


def test_a_sure_model_without_a_fault_may_err_as_the_rule_of_three_says():
    """All 72 are right at p = 0.00004 or 0.99998: half of (1 - error)^72 is 0.025; [0, 5e-11] was written."""
    target = np.arange(72) % 2
    error = calibration_error(Reliability(np.where(target, 0.99998, 0.00004), target), np.arange(72), 72)
    assert error.value == 0 and error.limits == pytest.approx((0, 1 - 0.05 ** (1 / 72)))
    one_missed = target.copy()
    one_missed[0] = 1
    low, high = calibration_error(Reliability(np.where(target, 0.99998, 0.00004), one_missed), np.arange(72), 72).limits
    assert 0 <= low <= 1 / 72 <= high


def test_less_than_chance_shows_is_no_certainty():
    """Every second of 100 cases at p = 0.5 is positive: nothing is seen, where chance would show 0.056."""
    error = calibration_error(Reliability(np.full(100, 0.5), np.arange(100) % 2, bins=2), np.arange(100), 100)
    assert error.limits[0] == 0 and error.limits[1] >= error.if_calibrated > 0.03


def test_the_plain_error_has_no_interval_but_what_stands_beside_it():
    rng = np.random.default_rng(2)
    probs, target, patients = study(rng, 300, 2.0)
    found = evaluate("binary", np.stack([1 - probs, probs], 1), target, probs > 0.5, 2, patients.tolist(), 50)[
        "metrics"
    ]
    ece, debiased = found["ece"], found["ece_debiased"]
    assert ece["ci95"] is None and "ece_debiased" in ece["reason"] and 0 < ece["if_calibrated"] < ece["value"]
    low, high = debiased["ci95"]
    assert 0 <= low < debiased["value"] < high and debiased["value"] < ece["value"]


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_of_several_classes_it_is_of_the_predicted_one_or_the_mean(kind):
    rng = np.random.default_rng(3)
    target = rng.integers(0, 3, 240)
    probs = rng.dirichlet(np.ones(3), 240) * 0.5 + np.eye(3)[target] * 0.5
    one_hot = np.eye(3)[target]
    values, chosen = (target, probs.argmax(1)) if kind == "multiclass" else (one_hot, probs > 0.5)
    found = evaluate(kind, probs, values, chosen, 3, None, 30)
    if kind == "multiclass":
        top = Reliability(probs.max(1), (probs.argmax(1) == target).astype(float))
        expected = calibration_error(top, np.arange(240), 240).value
    else:
        expected = np.mean([found["per_class"][c]["ece_debiased"]["value"] for c in "012"])
    assert found["metrics"]["ece_debiased"]["value"] == pytest.approx(expected)
