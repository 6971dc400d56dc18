"""A patient's cases put together, and judged: worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medtrain.metric import EvalOptions, by_patient
from medtrain.target import Decision, target_of

NAN = float("nan")
P = np.array(["b", "a", "b", "a", "c"])


def test_of_two_classes_the_positive_one_counts() -> None:
    sick = np.array([0.2, 0.9, 0.6, 0.5, 0.1])
    probs, labels = np.stack([1 - sick, sick], 1), np.array([[1, 0], [1, 0], [0, 1], [1, 0], [NAN, NAN]])
    wanted = np.array([False, True])
    mean = by_patient(probs, labels, P, "mean", wanted, True)
    np.testing.assert_allclose(mean.probs_PC[:, 1], [0.7, 0.4, 0.1])
    np.testing.assert_allclose(by_patient(probs, labels, P, "max", wanted, True).probs_PC[:, 1], [0.9, 0.6, 0.1])
    np.testing.assert_array_equal(mean.target_PC, [[1, 0], [0, 1], [NAN, NAN]])  # b is ill: one of the cases is
    np.testing.assert_allclose(mean.probs_PC.sum(1), 1)
    assert mean.cases_P.tolist() == [2, 2, 1] and mean.first_P.tolist() == [1, 0, 4] and mean.mixed == 0


def test_of_several_exclusive_classes_all_cases_must_agree() -> None:
    probs = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1], [0.2, 0.4, 0.4], [1, 0, 0]])
    labels = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1], [NAN, NAN, NAN]])
    found = by_patient(probs, labels, P, "mean", np.ones(3, bool), True)
    np.testing.assert_array_equal(found.target_PC, [[0, 0, 1], [NAN] * 3, [NAN] * 3])
    assert found.mixed == 1
    np.testing.assert_allclose(found.probs_PC, [[0.2, 0.3, 0.5], [0.35, 0.55, 0.1], [1, 0, 0]])
    highest = by_patient(probs, labels, P, "max", np.ones(3, bool), True).probs_PC
    np.testing.assert_allclose(highest[0], np.array([0.2, 0.4, 0.6]) / 1.2)


def test_of_labels_a_patient_has_those_of_any_case() -> None:
    probs = np.array([[0.2, 0.4], [0.9, 0.1], [0.6, 0.6], [0.5, 0.5], [0.1, 0.3]])
    labels = np.array([[0, NAN], [1, 0], [NAN, 1], [0, NAN], [0, 0]])
    found = by_patient(probs, labels, P, "max", np.ones(2, bool), False)
    np.testing.assert_array_equal(found.target_PC, [[1, NAN], [NAN, 1], [0, 0]])
    np.testing.assert_allclose(found.probs_PC, [[0.9, 0.5], [0.6, 0.6], [0.1, 0.3]])


@pytest.mark.parametrize(("rule", "predicted"), [("mean", ["sick", "well"]), ("max", ["sick", "sick"])])
def test_patients_have_metrics_and_a_table_of_their_own(rule: str, predicted: list[str]) -> None:
    target, decision = target_of("binary")(("well", "sick")), Decision(0.5, 1.0, {"sick": 0.55})
    sick = np.array([0.2, 0.9, 0.6, 0.5])
    rows = pd.DataFrame({"case": list("wxyz"), "patient": P[:4]})
    probs = np.stack([1 - sick, sick], 1)[:, None]
    decided = target.predict(probs[:, 0], decision)
    whole = target.predictions(rows, probs, decided, [0.55], np.array([0.0, 1, 0, 1]))
    outcome = target.judge(whole, decision, EvalOptions(bootstrap=0, patients=rule))  # type: ignore[arg-type]
    table = outcome.files["test_patients.csv"]
    assert table["patient"].tolist() == ["a", "b"] and table["target"].tolist() == ["sick", "well"]
    assert table["prediction"].tolist() == predicted and table["cases"].tolist() == [2, 2]
    found = outcome.metrics["patients"]
    assert (found["rule"], found["n_patients"], found["n_mixed"]) == (rule, 2, 0)
    assert found["metrics"]["accuracy"]["value"] == (1 if rule == "mean" else 0.5)
    assert found["metrics"]["auroc"]["value"] == 1 and len(outcome.files["test_predictions.csv"]) == 4


def test_where_each_case_is_a_patient_there_is_no_second_table() -> None:
    target, decision = target_of("binary")(("well", "sick")), Decision(0.5, 1.0, {"sick": 0.5})
    rows = pd.DataFrame({"case": list("wx"), "patient": ["p", "q"]})
    probs = np.array([[[0.7, 0.3]], [[0.2, 0.8]]])
    whole = target.predictions(rows, probs, target.predict(probs[:, 0], decision), [0.5], np.array([0.0, 1]))
    for options in (EvalOptions(bootstrap=0), EvalOptions(bootstrap=0, patients=None)):
        outcome = target.judge(whole, decision, options)
        assert outcome.metrics["patients"] is None and list(outcome.files) == ["test_predictions.csv"]
