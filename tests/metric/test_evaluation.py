"""What stands beside the metrics: replicates of all of them, groups, other prevalences, reliability, shares of all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit, softmax

from medtrain.metric.bootstrap import patient_counts, patient_index
from tests.metric import by_kind
from tests.metric.by_kind import evaluate

RNG = np.random.default_rng(17)
CLASSES = ["a", "b", "c"]


def data(kind, n=240):
    """probs, targets, predictions and patients, two or three cases each."""
    patients = [f"p{i}" for i in RNG.integers(0, n // 2, n)]
    if kind == "multiclass":
        target = RNG.integers(0, 3, n)
        probs = softmax(RNG.normal(size=(n, 3)) + np.eye(3)[target], axis=1).round(3)
        return probs, target, probs.argmax(axis=1), patients
    target = (RNG.random((n, 3)) < 0.4).astype(float)
    probs = expit(RNG.normal(size=(n, 3)) + target).round(3)
    if kind == "binary":
        return np.stack([1 - probs[:, 0], probs[:, 0]], 1), target[:, 0], probs[:, 0] > 0.5, patients
    return probs, np.where(RNG.random((n, 3)) < 0.9, target, np.nan), probs > 0.5, patients


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_replicates_are_the_metrics_of_the_cases_drawn(kind):
    probs, target, predicted, patients = data(kind)
    classes = CLASSES[: probs.shape[1]]
    index, n_patients = patient_index(patients, len(probs))
    one_hot = target if kind == "multilabel" else (target[:, None] == np.arange(len(classes))).astype(float)
    chosen = predicted if kind == "multilabel" else predicted[:, None] == np.arange(len(classes))
    found = (
        by_kind.target(kind, classes).sheet(probs, one_hot, chosen, classes).replicates(index, n_patients, 5, seed=3)
    )
    for r, count_P in enumerate(next(patient_counts(n_patients, 5, seed=3))):
        drawn = np.repeat(np.arange(len(probs)), count_P[index])
        loop = evaluate(kind, probs[drawn], target[drawn], predicted[drawn], classes, bootstrap=0)
        for name, owner in [(None, loop["metrics"]), *loop["per_class"].items()]:
            for metric, entry in owner.items():
                if metric not in ("ece", "ece_debiased"):  # their bins stay those of all cases
                    assert found[name, metric][r] == pytest.approx(entry["value"], rel=1e-5, abs=1e-5), (name, metric)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_a_group_is_judged_like_data_of_its_own(kind):
    probs, target, predicted, patients = data(kind)
    classes = CLASSES[: probs.shape[1]]
    site = RNG.choice(["north", "south", "(blank)"], len(probs))
    found = evaluate(kind, probs, target, predicted, classes, patients, 60, groups={"site": list(site)})["groups"]
    assert list(found) == ["site"] and list(found["site"]) == ["(blank)", "north", "south"]
    for name, group in found["site"].items():
        mine = site == name
        own = [p for p, m in zip(patients, mine, strict=True) if m]
        alone = evaluate(kind, probs[mine], target[mine], predicted[mine], classes, own, 60)
        assert group["metrics"] == alone["metrics"] and group["per_class"] == alone["per_class"]
        assert group["n_cases"] == mine.sum() and group["n_patients"] == len(set(own))
    events = {name: sum(g["events"][name] for g in found["site"].values()) for name in classes}
    positives = np.nansum(target, axis=0) if kind == "multilabel" else np.bincount(target.astype(int))
    assert list(events.values()) == positives.tolist()


def test_a_group_of_one_class_has_nulls():
    probs, target, predicted, patients = data("binary")
    group = ["sick" if t else "well" for t in target]
    found = evaluate("binary", probs, target, predicted, ["0", "1"], patients, 20, groups={"state": group})
    json.dumps(found, allow_nan=False)
    well = found["groups"]["state"]["well"]
    assert well["events"]["1"] == 0 and well["metrics"]["specificity"]["value"] is not None
    for name in ("auroc", "sensitivity", "calibration_slope", "calibration_intercept"):
        assert well["metrics"][name] == {"value": None, "ci95": None}


def test_predictive_values_at_a_prevalence_by_hand():
    """Sensitivity 0.9 and specificity 0.8 among 100 sick and 100 well; 1 in 100 sick: 0.009 / (0.009 + 0.198)."""
    target = np.repeat([1.0, 0.0], 100)
    predicted = np.r_[np.arange(100) < 90, np.arange(100) < 20]
    probs = np.where(predicted, 0.8, 0.2) + np.linspace(0, 0.1, 200)
    found = evaluate(
        "binary", np.stack([1 - probs, probs], 1), target, predicted, ["0", "1"], None, 500, prevalence=0.01
    )
    there = found["prevalence"]
    assert there["prevalence"] == 0.01
    ppv, npv = there["metrics"]["ppv"], there["metrics"]["npv"]
    assert ppv["value"] == pytest.approx(0.009 / 0.207) and npv["value"] == pytest.approx(0.792 / 0.793)
    assert ppv["ci95"][0] < ppv["value"] < ppv["ci95"][1] and ppv["ci95"][1] < found["metrics"]["ppv"]["ci95"][0]
    assert there["per_class"]["0"]["npv"]["value"] == pytest.approx(ppv["value"])  # the other class has the rest
    own = evaluate(
        "binary", np.stack([1 - probs, probs], 1), target, predicted, ["0", "1"], bootstrap=0, prevalence=0.5
    )
    for name in ("ppv", "npv"):  # at the data's own prevalence it is the data's own
        assert own["prevalence"]["metrics"][name]["value"] == pytest.approx(own["metrics"][name]["value"])
    with pytest.raises(ValueError, match="between 0 and 1"):
        evaluate("binary", np.stack([1 - probs, probs], 1), target, predicted, ["0", "1"], prevalence=1)


def test_predictive_values_of_several_classes_are_means():
    probs, target, predicted, patients = data("multilabel")
    there = evaluate("multilabel", probs, target, predicted, CLASSES, patients, 50, prevalence=0.2)["prevalence"]
    each = [there["per_class"][name]["ppv"]["value"] for name in CLASSES]
    assert there["metrics"]["ppv"]["value"] == pytest.approx(np.mean(each))
    assert there["metrics"]["ppv"]["ci95"][0] < np.mean(each) < there["metrics"]["ppv"]["ci95"][1]


@pytest.mark.parametrize(
    ("kind", "names"), [("binary", "b"), ("multiclass", ["top_label", *"abc"]), ("multilabel", "abc")]
)
def test_reliability_bins_count_their_cases(kind, names):
    probs, target, predicted, patients = data(kind, 600)
    classes = CLASSES[: probs.shape[1]]
    bins = evaluate(kind, probs, target, predicted, classes, patients, 50)["calibration"]["bins"]
    assert list(bins) == list(names)
    of = classes[-1]
    label = target[:, -1] if kind == "multilabel" else (target == len(classes) - 1).astype(float)
    known = np.isfinite(label)
    order = np.argsort(probs[known, -1], kind="stable")
    score, label = probs[known, -1][order], label[known][order]
    start = 0
    for row in bins[of]:
        own = slice(start, start + row["n"])
        start += row["n"]
        assert row["predicted"] == pytest.approx(score[own].mean()) and row["observed"] == pytest.approx(
            label[own].mean()
        )
        assert row["ci95"][0] <= row["observed"] <= row["ci95"][1] and row["ci95"][0] < row["ci95"][1]
    assert start == known.sum()
    if kind == "multiclass":
        right, sure = (
            sum(r["observed"] * r["n"] for r in bins["top_label"]),
            [r["predicted"] for r in bins["top_label"]],
        )
        assert right == pytest.approx((predicted == target).sum()) and sure == sorted(sure)
