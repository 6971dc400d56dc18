"""Conformal sets: the quantile by hand, coverage of new patients in simulation, and what is written of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medtrain.metric import EvalOptions
from medtrain.metric.conformal import fit_sets
from medtrain.target import Decision, target_of


def one_hot(values: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[values]


def test_of_single_cases_it_is_the_textbooks_quantile() -> None:
    """Of n cases the ceil((n + 1) * 0.9)-th smallest of 1 - p (Angelopoulos & Bates 2023, section 1.1)."""
    draw = np.random.default_rng(0)
    for n in (9, 10, 19, 57, 200):
        p = draw.random(n)
        place = int(np.ceil((n + 1) * 0.9))
        limits = fit_sets(np.stack([1 - p, p], 1), one_hot(np.ones(n, int), 2), None)
        assert limits == [0.0, pytest.approx(1 - np.sort(1 - p)[place - 1])]


def test_too_few_patients_have_every_class_in_every_set() -> None:
    p = np.linspace(0.6, 0.9, 8)
    assert fit_sets(np.stack([1 - p, p], 1), one_hot(np.ones(8, int), 2), None) == [0.0, 0.0]
    many = np.tile(p, 5)  # forty cases, of eight patients
    assert fit_sets(np.stack([1 - many, many], 1), one_hot(np.ones(40, int), 2), np.tile(np.arange(8), 5))[1] == 0.0


def test_cases_of_a_patient_weigh_one_together() -> None:
    """Ten patients of one case, and one of thirty bad ones: 0.9 * 12 = 10.8 must be let in, of 11."""
    p = np.concatenate([np.linspace(0.5, 0.95, 10), np.linspace(0.01, 0.3, 30)])
    patients = np.concatenate([np.arange(10), np.full(30, 10)])
    limit = fit_sets(np.stack([1 - p, p], 1), one_hot(np.ones(40, int), 2), patients)[1]
    assert limit == pytest.approx(np.sort(p[10:])[::-1][23])  # 24 thirtieths of the last patient


def patients_of(draw: np.random.Generator, n: int, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of three classes, alike within a patient, of whom each has one class."""
    patient_N = np.repeat(np.arange(n), each)
    value_N = draw.integers(0, 3, n)[patient_N]
    logits = draw.normal(size=(n, 3))[patient_N] + 0.5 * draw.normal(size=(n * each, 3)) + 1.5 * np.eye(3)[value_N]
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), value_N, patient_N


def test_new_patients_are_covered_as_promised() -> None:
    """Mean coverage of each class over 150 fits: 0.9 to 0.9 + 1 / (K + 1) and what patients add."""
    draw, covered = np.random.default_rng(1), []
    new, truth, _ = patients_of(draw, 3000, 1)
    for _ in range(150):
        probs, values, patients = patients_of(draw, 120, 4)
        inside = new >= np.array(fit_sets(probs, one_hot(values, 3), patients))
        covered.append([inside[truth == c, c].mean() for c in range(3)])
    mean = np.mean(covered, axis=0)
    assert (mean > 0.893).all() and (mean < 0.94).all()


def test_sets_are_kept_with_the_decision_written_and_judged() -> None:
    draw, target = np.random.default_rng(2), target_of("multiclass")(("a", "b", "c"))
    probs, values, patients = patients_of(draw, 200, 2)
    decision = target.fit_decision(np.log(probs), values, 0.5, [f"p{n}" for n in patients])
    again = Decision.from_dict(decision.to_dict())
    assert again.sets == decision.sets and list(decision.sets) == ["a", "b", "c"] and min(decision.sets.values()) > 0
    probs, values, patients = patients_of(draw, 150, 2)
    calibrated = target.probabilities(np.log(probs), decision.temperature)
    rows = pd.DataFrame({"case": [f"c{n}" for n in range(300)], "patient": [f"p{n}" for n in patients]})
    decided = target.predict(calibrated, decision)
    predicted = target.predictions(rows, calibrated[:, None], decided, [], values)
    outcome = target.judge(predicted, decision, EvalOptions(bootstrap=20))
    inside = calibrated >= np.array(list(decision.sets.values()))
    written = outcome.files["test_prediction_sets.csv"]["set"].tolist()
    columns = ["case", "patient", "target", "prediction", "prob_a", "prob_b", "prob_c"]
    assert list(outcome.files["test_predictions.csv"]) == columns
    assert written == ["|".join(np.array(["a", "b", "c"])[row]) for row in inside]
    found = outcome.metrics["prediction_sets"]
    assert found["promised"] == 0.9 and found["size"]["value"] == pytest.approx(inside.sum(1).mean())
    assert found["one"] == pytest.approx((inside.sum(1) == 1).mean())
    of_b = [inside[(patients == p) & (values == 1), 1].mean() for p in np.unique(patients[values == 1])]
    assert found["coverage"]["b"]["value"] == pytest.approx(np.mean(of_b))
    low, high = found["coverage"]["b"]["ci95"]
    assert low < np.mean(of_b) < high


def test_an_ensemble_has_no_sets_but_limits_of_its_own() -> None:
    target, decision = target_of("binary")(("well", "sick")), Decision(0.5, 1.0, {"sick": 0.3})
    rows = pd.DataFrame({"case": ["a", "b"], "patient": ["p", "p"]})
    probs = np.array([[[0.4, 0.6], [0.6, 0.4]], [[0.9, 0.1], [0.8, 0.2]]])
    predicted = target.predictions(rows, probs, np.array([1, 0]), [0.3], np.array([1.0, 0]))
    assert predicted.by == "ensemble" and predicted.limits.tolist() == [0.3]
    outcome = target.judge(predicted, decision, EvalOptions(bootstrap=0))
    assert "test_prediction_sets.csv" not in outcome.files
    assert outcome.files["test_patients.csv"]["prediction"].tolist() == ["sick"]  # 0.325, from 0.3 on


def test_a_run_without_limits_has_no_sets() -> None:
    plain = {"policy": 0.5, "temperature": 1.0, "thresholds": {"sick": 0.5}}  # as medtrain 0.1 wrote it
    target, decision = target_of("binary")(("well", "sick")), Decision.from_dict(plain)
    rows, probs = pd.DataFrame({"case": ["a", "b"], "patient": ["p", "q"]}), np.array([[[0.4, 0.6]], [[0.9, 0.1]]])
    predicted = target.predictions(rows, probs, np.array([1, 0]), [0.5], np.array([1.0, 0]))
    outcome = target.judge(predicted, decision, EvalOptions(bootstrap=0))
    assert list(outcome.metrics["prediction_sets"]) == ["reason"] and "test_prediction_sets.csv" not in outcome.files
    assert "earlier version" in outcome.metrics["prediction_sets"]["reason"]


def test_several_labels_have_a_set_each_of_yes_and_no() -> None:
    """Limits as the textbook's quantile of each answer, table and coverage counted one by one; one label is unknown."""
    draw, target = np.random.default_rng(3), target_of("multilabel")(("u", "v"))
    values = (draw.random((120, 2)) < 0.4).astype(float)
    logits = 2 * values - 1 + draw.normal(size=(120, 2))
    values[7, 1] = np.nan
    decision = target.fit_decision(logits, values, 0.5, [f"p{n}" for n in range(120)])
    probs = target.probabilities(logits, decision.temperature)

    def quantile(own: np.ndarray) -> float:
        return float(np.sort(own)[::-1][int(np.ceil((len(own) + 1) * 0.9)) - 1])

    for c, name in enumerate(target.classes):
        assert decision.sets[name] == pytest.approx(quantile(probs[values[:, c] == 1, c]))
        assert decision.absent[name] == pytest.approx(quantile(1 - probs[values[:, c] == 0, c]))
    rows = pd.DataFrame({"case": [f"c{n}" for n in range(120)], "patient": [f"p{n}" for n in range(120)]})
    decided = target.predict(probs, decision)
    outcome = target.judge(
        target.predictions(rows, probs[:, None], decided, list(decision.thresholds.values()), values),
        decision,
        EvalOptions(bootstrap=20),
    )
    table = outcome.files["test_prediction_sets.csv"]
    assert list(table) == ["case", "patient", "set_u", "set_v"] and set(table["set_u"]) <= {"", "0", "1", "0|1"}
    judged, written = outcome.metrics["prediction_sets"], table["set_v"].tolist()
    for answer, key in (("1", "coverage"), ("0", "coverage_absent")):
        hits = [answer in cell for cell, value in zip(written, values[:, 1], strict=True) if value == float(answer)]
        assert judged[key]["v"]["value"] == pytest.approx(np.mean(hits)) and np.mean(hits) >= 0.9
    assert judged["labels"]["v"]["size"]["value"] == pytest.approx(np.mean([len(c.replace("|", "")) for c in written]))
    assert judged["labels"]["v"]["several"] == pytest.approx(np.mean([c == "0|1" for c in written]))


def test_tables_of_before_that_have_a_column_of_sets_are_read(tmp_path) -> None:
    file = tmp_path / "test_predictions.csv"
    file.write_text("case,patient,target,prediction,prob_well,prob_sick,set\nc,p,sick,well,0.7,0.3,well|sick\n")
    rows, probs, values = target_of("binary")(("well", "sick")).read_file(file)
    assert rows["case"].tolist() == ["c"] and probs.tolist() == [[0.7, 0.3]] and values.tolist() == [1]
