"""A prediction that is the same for all cases is told, whatever made it so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medtrain.metric import EvalOptions, constant_decisions, constant_scores
from medtrain.target import Decision, Predicted
from medtrain.target.binary import Binary
from medtrain.target.multiclass import Multiclass
from medtrain.target.multilabel import Multilabel

ROWS = pd.DataFrame({"case": list("abcdef"), "patient": list("abcdef")})


@pytest.mark.parametrize("value", [0.7992, 0.0, 1.0, 1e-12])
def test_scores_by_hand(value: float) -> None:
    (text,) = constant_scores({"the probability of 'sick'": [value] * 3, "another": [0.1, 0.2, 0.3]})
    assert text.startswith("constant prediction: the probability of 'sick' (") and "for all 3 cases" in text
    (rounded,) = constant_scores({"p": np.float64(0.3) + np.array([0, 1e-9, -1e-9])})
    assert "p (0.3)" in rounded
    for fine in ([value], [], [1e-12, 2e-12], [0.3, 0.301], [0.3, np.nan]):
        assert constant_scores({"p": fine}) == []


def test_decisions_by_hand() -> None:
    assert "all 3 cases are predicted as x" in constant_decisions([1, 1, 1], [0, 1, 1], "predicted as x")[0]
    for decided, truth in (([1, 1], [1, 1]), ([0, 1], [0, 1]), ([1], [0]), ([1, 1], [1, -1]), ([1, 1], [1, np.nan])):
        assert constant_decisions(decided, truth, "") == []


def judged(target: object, probs: np.ndarray, values: np.ndarray, predicted: np.ndarray) -> list[str]:
    one = Predicted(ROWS, probs, predicted, values, np.zeros(len(probs)))
    return target.judge(one, Decision(), EvalOptions(bootstrap=0)).warnings  # type: ignore[attr-defined]


def test_every_kind_of_classes_is_told() -> None:
    truth = np.array([0, 1, 0, 1, 0, 1])
    flat, varied = np.full(6, 0.8), np.linspace(0.1, 0.4, 6)

    def two(p: np.ndarray) -> np.ndarray:
        return np.stack([1 - p, p], 1)

    assert "the probability of 'yes' (0.8)" in judged(Binary(("no", "yes")), two(flat), truth, truth)[0]
    assert "predicted as 'no'" in judged(Binary(("no", "yes")), two(varied), truth, truth * 0)[0]
    assert judged(Binary(("no", "yes")), two(varied), truth, truth) == []
    three = Multiclass(("a", "b", "c"))
    assert "'a' (0.3333)" in judged(three, np.full((6, 3), 1 / 3), truth, truth)[0]
    labels = Multilabel(("x", "y"))
    values = np.stack([truth, 1 - truth], 1)
    (text,) = judged(labels, np.stack([flat, varied], 1), values, values)
    assert "'x' (0.8)" in text and "'y'" not in text
