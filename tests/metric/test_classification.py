"""Every metric against scikit-learn, on tied scores, three kinds of labels, and labels that are partly unknown."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from medtrain.core.errors import MedtrainError
from medtrain.metric import auroc
from medtrain.metric.binary import NAMES
from tests.metric.by_kind import evaluate
from tests.metric.references import recalibrated

RNG = np.random.default_rng(7)


def sk_binary(target, score, predicted):
    """What scikit-learn says of one class against the rest."""
    slope, intercept = recalibrated(target, score)
    recall = sk.recall_score
    return {
        "auroc": sk.roc_auc_score(target, score),
        "auprc": sk.average_precision_score(target, score),
        "accuracy": sk.accuracy_score(target, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(target, predicted),
        "sensitivity": recall(target, predicted),
        "specificity": recall(target, predicted, pos_label=0),
        "ppv": sk.precision_score(target, predicted),
        "npv": sk.precision_score(target, predicted, pos_label=0),
        "f1": sk.f1_score(target, predicted),
        "mcc": sk.matthews_corrcoef(target, predicted),
        "brier": sk.brier_score_loss(target, score),
        "ece": ece_by_loop(score, target),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "kappa": sk.cohen_kappa_score(target, predicted),
    }


def ece_by_loop(probs, observed, bins=15):
    """Equal-mass calibration error, one case at a time; a probability's rank is how many are strictly lower."""
    groups = {}
    for p, y in zip(probs, observed, strict=True):
        groups.setdefault(int(bins * sum(probs < p) / len(probs) + 1e-12), []).append(y - p)
    return sum(abs(sum(group)) for group in groups.values()) / len(probs)


def values(entries):
    """Values that scikit-learn has too; tests/metric/test_calibration_error.py has the one that it lacks."""
    return {name: entry["value"] for name, entry in entries.items() if name != "ece_debiased"}


def binary_data(n=300, decimals=None, shift=1.0):
    target = (RNG.random(n) < 0.3).astype(float)
    score = 1 / (1 + np.exp(-(RNG.normal(size=n) + shift * target - 0.5)))
    return target, score if decimals is None else score.round(decimals)


def multiclass_data(n=400, width=4, decimals=2):
    target = RNG.integers(0, width, n)
    logits = RNG.normal(size=(n, width)) + 1.2 * np.eye(width)[target]
    parts = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    units = 10**decimals
    whole = np.floor(parts * units)  # tied, and still adding up to 1
    whole[:, 0] += units - whole.sum(1)
    return target, whole / units


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_binary_is_scikit_learn(decimals):
    target, score = binary_data(decimals=decimals)
    predicted = (score >= 0.4).astype(int)
    found = evaluate("binary", np.stack([1 - score, score], 1), target, predicted, ["no", "yes"], bootstrap=0)
    assert tuple(values(found["metrics"])) == NAMES
    assert values(found["metrics"]) == pytest.approx(sk_binary(target, score, predicted))
    assert values(found["per_class"]["yes"]) == values(found["metrics"])
    assert values(found["per_class"]["no"]) == pytest.approx(sk_binary(1 - target, 1 - score, 1 - predicted))


def test_binary_leaves_out_unknown_cases():
    target, score = binary_data(decimals=2)
    known = RNG.random(len(target)) < 0.7
    masked = np.where(known, target, np.nan)
    predicted = (score >= 0.4).astype(int)
    patients = [f"p{i // 3}" for i in range(len(target))]
    found = evaluate("binary", np.stack([1 - score, score], 1), masked, predicted, ["0", "1"], patients, 50)
    assert values(found["metrics"]) == pytest.approx(sk_binary(target[known], score[known], predicted[known]))


def test_multiclass_is_scikit_learn():
    target, probs = multiclass_data()
    predicted = (probs + RNG.normal(0, 0.01, probs.shape)).argmax(1)
    classes = ["a", "b", "c", "d"]
    found = evaluate("multiclass", probs, target, predicted, classes, bootstrap=0)
    one_hot, chosen = np.eye(4)[target], np.eye(4)[predicted]
    each = [sk_binary(one_hot[:, c], probs[:, c], chosen[:, c]) for c in range(4)]
    macro = {name: np.mean([e[name] for e in each]) for name in NAMES}
    confidence = probs[np.arange(len(probs)), predicted]
    expected = macro | {
        "auroc": sk.roc_auc_score(target, probs, multi_class="ovr"),
        "auprc": sk.average_precision_score(one_hot, probs),
        "accuracy": sk.accuracy_score(target, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(target, predicted),
        "sensitivity": sk.recall_score(target, predicted, average="macro"),
        "ppv": sk.precision_score(target, predicted, average="macro"),
        "f1": sk.f1_score(target, predicted, average="macro"),
        "mcc": sk.matthews_corrcoef(target, predicted),
        "kappa": sk.cohen_kappa_score(target, predicted),
        "kappa_linear": sk.cohen_kappa_score(target, predicted, weights="linear"),
        "kappa_quadratic": sk.cohen_kappa_score(target, predicted, weights="quadratic"),
        "brier": sk.brier_score_loss(target, probs, labels=range(4)),
        "ece": ece_by_loop(confidence, (predicted == target).astype(float)),
        "auroc_micro": sk.roc_auc_score(target, probs, multi_class="ovr", average="micro"),
        "auprc_micro": sk.average_precision_score(one_hot, probs, average="micro"),
        "sensitivity_micro": sk.recall_score(target, predicted, average="micro"),
        "ppv_micro": sk.precision_score(target, predicted, average="micro"),
        "f1_micro": sk.f1_score(target, predicted, average="micro"),
        "specificity_micro": sk.recall_score(one_hot.ravel(), chosen.ravel(), pos_label=0),
        "npv_micro": sk.precision_score(one_hot.ravel(), chosen.ravel(), pos_label=0),
    }
    assert values(found["metrics"]) == pytest.approx(expected)
    for name, reference in zip(classes, each, strict=True):
        assert values(found["per_class"][name]) == pytest.approx(reference)


def test_multiclass_leaves_out_unknown_cases_and_absent_classes():
    target, probs = multiclass_data()
    keep = (target != 3) & (RNG.random(len(target)) < 0.8)
    predicted = np.where(probs.argmax(1) == 3, 0, probs.argmax(1))
    masked = np.where(keep, target, -1)
    found = evaluate("multiclass", probs, masked, predicted, list("abcd"), bootstrap=0)
    expected = sk.f1_score(target[keep], predicted[keep], labels=[0, 1, 2], average="macro")
    assert found["metrics"]["f1"]["value"] == pytest.approx(expected)
    balanced = sk.balanced_accuracy_score(target[keep], predicted[keep])
    assert found["metrics"]["balanced_accuracy"]["value"] == pytest.approx(balanced)
    assert found["per_class"]["d"]["auroc"] == {"value": None, "ci95": None}
    assert found["per_class"]["d"]["specificity"]["value"] == 1.0


def test_multilabel_is_scikit_learn_with_unknown_labels():
    width, n = 3, 300
    target = (RNG.random((n, width)) < [0.2, 0.4, 0.6]).astype(float)
    probs = np.clip(RNG.normal(0.4 + 0.2 * target, 0.2), 0, 1).round(2)
    predicted = (probs >= [0.4, 0.5, 0.6]).astype(int)
    known = RNG.random((n, width)) < 0.8
    masked = np.where(known, target, np.nan)
    patients = [i // 4 for i in range(n)]
    found = evaluate("multilabel", probs, masked, predicted, list("abc"), patients, bootstrap=40)
    each = [sk_binary(*(x[known[:, c], c] for x in (target, probs, predicted))) for c in range(width)]
    expected = {name: np.mean([e[name] for e in each]) for name in NAMES}
    micro = sk_binary(target[known], probs[known], predicted[known])
    pooled = ("auroc", "auprc", "accuracy", "sensitivity", "specificity", "ppv", "npv", "f1")
    expected |= {f"{name}_micro": micro[name] for name in pooled}
    assert values(found["metrics"]) == pytest.approx(expected)
    for name, reference in zip("abc", each, strict=True):
        assert values(found["per_class"][name]) == pytest.approx(reference)
    for metric, entry in found["metrics"].items():
        assert metric == "ece" or entry["ci95"][0] <= entry["value"] <= entry["ci95"][1]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("target", "undefined"),
    [
        (
            [0, 0, 0, 0],
            {"auroc", "auprc", "sensitivity", "balanced_accuracy", "mcc", "calibration_slope", "calibration_intercept"},
        ),
        (
            [1, 1, 1, 1],
            {"auroc", "specificity", "balanced_accuracy", "mcc", "calibration_slope", "calibration_intercept"},
        ),
        ([np.nan] * 4, {*NAMES, "ece_debiased"}),
    ],
)
def test_undefined_is_none_without_a_warning(target, undefined):
    probs, predicted = np.asarray([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]), [0, 1, 0, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate("binary", probs, target, predicted, ["0", "1"], bootstrap=20)
    assert {name for name, entry in found["metrics"].items() if entry["value"] is None} == undefined
    assert all(entry["ci95"] is None for entry in found["metrics"].values() if entry["value"] is None)
    json.dumps(found, allow_nan=False)


def test_all_negative_model_at_three_percent_gets_no_made_up_scores():
    target = np.asarray([1.0] * 3 + [0.0] * 97)
    found = evaluate("binary", np.tile([0.9, 0.1], (100, 1)), target, np.zeros(100), ["0", "1"], bootstrap=0)["metrics"]
    assert found["accuracy"]["value"] == 0.97
    assert found["balanced_accuracy"]["value"] == found["auroc"]["value"] == 0.5
    assert found["sensitivity"]["value"] == found["f1"]["value"] == 0.0
    assert found["ppv"]["value"] is found["mcc"]["value"] is None


def test_a_class_that_is_never_predicted_makes_the_mean_ppv_undefined():
    target, probs = multiclass_data(width=3)
    found = evaluate("multiclass", probs, target, np.where(probs.argmax(1) == 2, 0, probs.argmax(1)), list("abc"))
    assert found["metrics"]["ppv"] == {"value": None, "ci95": None}
    assert found["per_class"]["c"]["sensitivity"]["value"] == 0.0


def test_no_bootstrap_and_single_patients_give_no_intervals():
    target, score = binary_data(50)
    arguments = ("binary", np.stack([1 - score, score], 1), target, score > 0.5, ["0", "1"])
    for found in (evaluate(*arguments, bootstrap=0), evaluate(*arguments, patients=["one"] * 50)):
        assert all(entry["ci95"] is None for entry in found["metrics"].values())


def test_bad_input_says_so():
    with pytest.raises(ValueError, match="kind"):
        evaluate("boxes", np.zeros((1, 2)), [0], [0], ["a", "b"])
    with pytest.raises(ValueError, match="fit together"):
        evaluate("binary", np.zeros((3, 1)), [0, 1, 0], [0, 0, 0], ["a", "b"])
    with pytest.raises(MedtrainError, match="1 of 2 predictions"):
        evaluate("binary", [[np.nan, np.nan], [0.5, 0.5]], [0, 1], [0, 0], ["a", "b"])


def test_auroc_of_an_epoch():
    target, score = binary_data(decimals=1)
    expected = sk.roc_auc_score(target, score)
    assert auroc(score, target) == pytest.approx(expected)
    assert auroc(torch.tensor(score)[:, None], torch.tensor(target)[:, None]) == pytest.approx(expected)
    assert auroc(np.stack([1 - score, score], 1), np.where(target > 0, 1, 0)) == pytest.approx(expected)
    labels, probs = multiclass_data()
    assert auroc(probs, labels) == pytest.approx(sk.roc_auc_score(labels, probs, multi_class="ovr"))
    one_hot = np.eye(4)[labels]
    assert auroc(probs, one_hot) == pytest.approx(sk.roc_auc_score(one_hot, probs))
    one_hot[:, 1] = np.nan
    one_hot[:, 2] = 0
    assert auroc(probs, one_hot) == pytest.approx(sk.roc_auc_score(one_hot[:, [0, 3]], probs[:, [0, 3]]))


def test_auroc_of_nothing_is_nan():
    for scores, target in (([], []), ([0.1, 0.2], [0, 0]), ([0.1, np.nan], [0, 1]), ([0.1, 0.2], [np.nan, 1])):
        assert np.isnan(auroc(scores, target))
