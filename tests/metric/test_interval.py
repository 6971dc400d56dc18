"""Intervals at the edges: against binomial and Poisson probabilities, DeLong's variance, and cases worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binom, binomtest, poisson

from medtrain.metric.area import clustered_limits, newcombe, obuchowski, placements
from medtrain.metric.interval import NOTHING, Form, averaged, correlation, missing, rising, write
from medtrain.metric.share import mid_p, rate_form, share_forms
from tests.metric.by_kind import evaluate

CLASSES = ["well", "sick"]


def two_classes(kind_of_score, patients=None, **options):
    """Evaluate a score of the sick and of the well."""
    sick, well = kind_of_score
    score, target = np.r_[well, sick], np.repeat([0.0, 1.0], [len(well), len(sick)])
    return evaluate(
        "binary", np.stack([1 - score, score], 1), target, score > 0.5, ["well", "sick"], patients, **options
    )


def one_share(hits, cases):
    """Value and form of one share; hits and cases of each patient."""
    values, forms = share_forms(np.asarray([hits], float), np.asarray([cases], float))
    return float(values[0]), forms[0]


@pytest.mark.parametrize(("x", "n"), [(0, 7), (1, 7), (7, 7), (3, 20), (19, 20), (250, 1000)])
def test_an_unclustered_share_has_mid_p_limits(x, n):
    """P(X > x) + P(X = x) / 2 is 0.025 at the lower limit, P(X < x) + P(X = x) / 2 at the upper one."""
    value, form = one_share(np.arange(n) < x, np.ones(n))
    low, high = form.limits
    assert value == x / n and low <= value <= high
    assert low == 0 if x == 0 else binom.sf(x, n, low) + binom.pmf(x, n, low) / 2 == pytest.approx(0.025, abs=1e-6)
    assert (
        high == 1 if x == n else binom.cdf(x - 1, n, high) + binom.pmf(x, n, high) / 2 == pytest.approx(0.025, abs=1e-6)
    )
    exact = binomtest(x, n).proportion_ci(method="exact")  # Clopper and Pearson
    assert exact.low <= low and high <= exact.high


def test_none_and_all_of_ten_by_hand():
    """Half of p^10 is 0.025: p is the tenth root of 0.05."""
    assert mid_p(np.array([1.0, 0.0]), np.array([10, 10])) == pytest.approx(
        np.array([[0.05**0.1, 1], [0, 1 - 0.05**0.1]]), abs=1e-9
    )


def test_a_missed_image_of_320_is_no_more_certain_than_none_missed():
    cases, missed = np.full(40, 8.0), np.eye(40)[0]
    (_, all_found), (_, one_missed) = one_share(cases, cases), one_share(cases - missed, cases)
    assert all_found.limits == pytest.approx((0.05 ** (3.1 / 320), 1.0))  # a design effect of 1 + 7 x 0.3
    assert one_missed.limits[0] == pytest.approx(all_found.limits[0], abs=0.01)


def test_alike_images_count_as_one_and_unlike_ones_as_many():
    """Korn and Graubard: n / design effect. Forty patients all or nothing, half of them; or every second image."""
    half = np.arange(40) % 2
    alike, independent = one_share(8 * half, np.full(40, 8)), one_share(np.full(40, 4), np.full(40, 8))
    assert alike[1].limits == pytest.approx(tuple(mid_p(np.array(0.5), np.array(40))), abs=0.012)
    assert independent[1].limits == pytest.approx(tuple(mid_p(np.array(0.5), np.array(320))), abs=0.004)


@pytest.mark.parametrize(("events", "images"), [(0, 12), (3, 12), (40, 12)])
def test_a_rate_of_single_images_has_mid_p_limits_of_poisson(events, images):
    counts = np.random.default_rng(0).multinomial(events, np.full(images, 1 / images))
    low, high = rate_form(np.ones(images) * events / images, np.ones(images)).limits  # no more spread than Poisson
    assert events / images >= low and high > events / images and counts.sum() == events
    assert (
        low == 0
        if not events
        else poisson.sf(events, low * images) + poisson.pmf(events, low * images) / 2 == pytest.approx(0.025, abs=1e-6)
    )
    assert poisson.cdf(events - 1, high * images) + poisson.pmf(events, high * images) / 2 == pytest.approx(
        0.025, abs=1e-6
    )


def delong(sick, well):
    """DeLong's variance (Biometrics 1988), pair by pair."""
    pairs = (sick[:, None] > well) + (sick[:, None] == well) / 2
    return pairs.mean(1).var(ddof=1) / len(sick) + pairs.mean(0).var(ddof=1) / len(well), pairs.mean()


def test_the_spread_of_an_auroc_is_delongs_and_obuchowskis():
    rng = np.random.default_rng(1)
    sick, well = rng.normal(1, 1, 23).round(1), rng.normal(size=41).round(1)
    scores, positive = np.r_[sick, well], np.repeat([True, False], [23, 41])
    variance, area = delong(sick, well)
    placed = placements(scores, positive)
    assert placed[positive].mean() == pytest.approx(area) and placed[~positive].mean() == pytest.approx(area)
    assert obuchowski(placed, positive, np.arange(64), 64) == (pytest.approx(variance), 23, 41)
    twice = np.r_[np.arange(64), np.arange(64)]  # each patient with the same image twice: as many patients
    doubled = obuchowski(np.r_[placed, placed], np.r_[positive, positive], twice, 64)
    assert doubled == (pytest.approx(variance), 23, 41)


def test_the_limits_of_an_auroc_are_those_from_which_it_is_196_errors_away():
    """Of two separated classes the spread is Newcombe's formula; eight alike images of each patient add nothing."""
    positive = np.repeat([False, True], [12, 8])
    scores = positive + np.linspace(0, 0.5, 20)
    low, high = clustered_limits(1.0, placements(scores, positive), positive, np.arange(20), 20)
    assert (1 - low) ** 2 == pytest.approx(1.959964**2 * newcombe(np.array(low), 8, 12), rel=1e-5) and high == 1
    opposite = clustered_limits(0.0, placements(-scores, positive), positive, np.arange(20), 20)
    assert opposite == pytest.approx((0, 1 - low))
    alike, sick = np.repeat(scores, 8), np.repeat(positive, 8)
    eight = clustered_limits(1.0, placements(alike, sick), sick, np.repeat(np.arange(20), 8), 20)
    assert eight == pytest.approx((low, high), abs=1e-6)


def test_the_limits_of_an_auroc_of_many_cases_are_delongs():
    rng = np.random.default_rng(4)
    positive = np.arange(4000) < 1500
    scores = rng.normal(size=4000) + positive
    variance, area = delong(scores[positive], scores[~positive])
    limits = clustered_limits(area, placements(scores, positive), positive, np.arange(4000), 4000)
    plain = (area - 1.96 * variance**0.5, area + 1.96 * variance**0.5)
    assert limits == pytest.approx(plain, abs=0.0006)  # of a width of 0.03


def test_patients_with_cases_of_both_classes_have_obuchowskis_spread():
    """What a patient adds to both classes cancels out, so that the cases are worth more than independent ones."""
    rng = np.random.default_rng(6)
    patient, positive = np.repeat(np.arange(400), 2), np.tile([True, False], 400)
    scores = rng.normal(size=400)[patient] + 0.5 * rng.normal(size=800) + positive
    placed = placements(scores, positive)
    area = placed[positive].mean()
    over_patients, over_cases = (obuchowski(placed, positive, by, 800)[0] for by in (patient, np.arange(800)))
    assert over_patients < 0.5 * over_cases
    low, high = clustered_limits(area, placed, positive, patient, 400)
    assert high - low == pytest.approx(2 * 1.96 * obuchowski(placed, positive, patient, 400)[0] ** 0.5, rel=0.02)


def test_ten_sick_and_ten_well_apart_are_no_certainty():
    found = two_classes((np.linspace(0.8, 0.9, 10), np.linspace(0.1, 0.2, 10)), prevalence=0.03, bootstrap=200)
    ones = {name: entry for name, entry in found["metrics"].items() if entry["value"] == 1}
    assert {"auroc", "auprc", "f1", "mcc", "kappa", "balanced_accuracy", "sensitivity", "ppv"} <= ones.keys()
    for name, entry in (ones | found["prevalence"]["metrics"]).items():
        assert entry["ci95"][1] == 1 and 0 < entry["ci95"][0] < 0.995, name
    assert found["prevalence"]["metrics"]["ppv"]["ci95"][0] < 0.2  # 3 % sick: nothing is known of false positives
    assert found["few"] is None


def test_four_of_a_class_apart_have_no_interval_and_the_reason():
    found = two_classes((np.linspace(0.8, 0.9, 4), np.linspace(0.1, 0.2, 9)), bootstrap=200)
    for name in ("auroc", "auprc", "sensitivity", "mcc", "kappa", "balanced_accuracy"):
        assert found["metrics"][name]["ci95"] is None and "needs 5" in found["metrics"][name]["reason"], name
    assert found["metrics"]["specificity"]["ci95"][0] == pytest.approx(0.05 ** (1 / 9))
    assert found["few"] == {"sick": {"positive": 4, "negative": 9}}


def test_one_patient_of_a_class_says_nothing():
    rng = np.random.default_rng(0)
    found = two_classes((rng.random(6), rng.random(6)), np.repeat(["a", "b"], 6), bootstrap=100)["metrics"]
    assert found["auroc"]["value"] is not None and found["auroc"]["ci95"] is None
    assert found["auroc"]["reason"] == "1 patient behind it, an interval needs 2"


def test_fourteen_labels_of_one_positive_have_no_macro_interval():
    rng = np.random.default_rng(2)
    target = np.zeros((100, 14))
    target[np.arange(14), np.arange(14)] = 1
    found = evaluate("multilabel", rng.random((100, 14)), target, rng.random((100, 14)) > 0.5, 14, None, 500)
    entry = found["metrics"]["auroc"]
    assert entry["ci95"] is None and entry["replicates"] == 500 and entry["defined"] < 20
    assert f"defined in {entry['defined']} of 500" in entry["reason"] and len(found["few"]) == 14
    assert found["metrics"]["specificity_micro"]["ci95"] is not None
    json.dumps(found, allow_nan=False)


def test_micro_shares_of_exclusive_classes_are_the_accuracy():
    rng = np.random.default_rng(3)
    target = rng.integers(0, 3, 120)
    probs = rng.dirichlet(np.ones(3), 120) + 1.5 * np.eye(3)[target] * (rng.random((120, 1)) < 0.8)
    patients = np.repeat(np.arange(60), 2).astype(str)
    found = evaluate("multiclass", probs / probs.sum(1, keepdims=True), target, probs.argmax(1), 3, patients, 200)
    metrics = found["metrics"]
    for name in ("sensitivity_micro", "ppv_micro", "f1_micro"):
        assert metrics[name]["value"] == pytest.approx(metrics["accuracy"]["value"], abs=1e-12)
        assert metrics[name]["ci95"] == pytest.approx(metrics["accuracy"]["ci95"], abs=1e-12), name


def test_a_model_that_says_the_same_of_all_is_not_sure():
    target = np.repeat([0.0, 1.0], 20)
    found = evaluate("binary", np.tile([0.3, 0.7], (40, 1)), target, np.ones(40), 2, None, 100)["metrics"]
    assert found["auroc"]["value"] == 0.5 and found["auroc"]["ci95"] is None and "vary" in found["auroc"]["reason"]
    assert found["kappa"]["ci95"] is None and "vary" in found["kappa"]["reason"]
    assert found["balanced_accuracy"]["ci95"] is None


def test_what_is_written_where_replicates_lack_a_value():
    values = np.r_[np.full(95, 0.5), np.full(5, np.nan)] + np.linspace(0, 0.1, 100)
    written = write(0.5, Form((0.3, 0.7)), values)
    assert written == {"value": 0.5, "ci95": [0.3, 0.7], "defined": 95, "replicates": 100}
    assert "defined in 85 of 100" in missing(0.5, Form((0.3, 0.7)), np.r_[values[:85], np.full(15, np.nan)])
    assert write(np.nan, Form((0.3, 0.7)), values) == {"value": None, "ci95": None}
    assert write(0.5, None) == {"value": 0.5, "ci95": None}
    assert write(0.5, Form(NOTHING))["reason"] and write(0.5, Form((0.5, 0.5)))["ci95"] is None


def test_the_mean_of_parts_is_as_sure_as_its_parts_are_related():
    """Two parts with limits 0.1 below and 0.2 above: independent ones sqrt(2) / 2 of it."""
    values, limits = np.array([0.5, 0.7]), np.array([[0.4, 0.7], [0.6, 0.9]])
    assert averaged(values, limits) == pytest.approx((0.6 - 0.1 / np.sqrt(2), 0.6 + 0.2 / np.sqrt(2)))
    assert averaged(values, limits, np.ones((2, 2))) == pytest.approx((0.5, 0.8))
    still = np.ones(50)
    assert correlation([still, still]).tolist() == [[1, 1], [1, 1]]
    assert correlation([still, still], of_others=True).tolist() == [[1, 0], [0, 1]]
    moving = np.random.default_rng(0).normal(size=50)
    assert correlation([moving, -moving, still]) == pytest.approx(np.array([[1, -1, 0], [-1, 1, 0], [0, 0, 1]]))


def test_a_rising_function_of_two_numbers_by_hand():
    """Of a sum the limits are the root of the sum of squares; where one number is sure, the other's limits remain."""
    a, b = np.array([0.6, 0.3, 0.9]), np.array([0.5, 0.1, 0.9])
    low, high = rising(np.add, a, b)
    assert (low, high) == (pytest.approx(1.1 - 0.5, abs=1e-3), pytest.approx(1.1 + 0.5, abs=1e-3))
    assert rising(np.add, a, np.array([0.5] * 3)) == pytest.approx([0.8, 1.4])


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_labels_that_nothing_tells_apart_are_judged(kind):
    """All cases of one class: no label has both positives and negatives, so the whole is no mean of any."""
    target = np.ones(8) if kind == "multiclass" else np.tile([1.0, 0.0], (8, 1))
    probs = np.tile([0.3, 0.7], (8, 1))
    predicted = np.ones(8, int) if kind == "multiclass" else probs > 0.5
    found = evaluate(kind, probs, target, predicted, 2, list("aabbccdd"), 50, prevalence=0.1)
    assert found["metrics"]["auroc"] == {"value": None, "ci95": None}
    json.dumps(found, allow_nan=False)
