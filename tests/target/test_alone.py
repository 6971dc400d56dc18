"""What columns of a table tell without any image: linear models, read as a network's outputs are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge

from medtrain.target import target_of
from medtrain.target.alone import Linear, cox, multinomial
from medtrain.target.cases import CaseTarget
from medtrain.target.value import Value

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(80, 3))
NOISE = DRAW.normal(size=80)


def read(target: CaseTarget, values: Any) -> np.ndarray:
    fitted = target.table_alone(X, np.asarray(values))
    assert fitted is not None
    reader, outputs = fitted
    return np.asarray(reader.probabilities(outputs(X)))


def named(kind: str, *classes: str) -> Any:
    return target_of(kind)(classes)


def test_two_classes_have_a_logistic_regression() -> None:
    y = (X[:, 0] + NOISE > 0).astype(float)
    by_sklearn = LogisticRegression().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(read(named("binary", "0", "1"), y), by_sklearn, atol=1e-6)
    unknown = np.where(np.arange(80) < 20, np.nan, y)
    of_known = LogisticRegression().fit(X[20:], y[20:]).predict_proba(X)
    np.testing.assert_allclose(read(named("binary", "0", "1"), unknown), of_known, atol=1e-6)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_several_classes_have_a_multinomial_one(kind: str) -> None:
    y = np.digitize(X[:, 1] + NOISE, (-0.7, 0.7))
    by_sklearn = LogisticRegression().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(read(named(kind, "a", "b", "c"), y), by_sklearn, atol=1e-6)
    lacking = read(named(kind, "a", "b", "c", "d"), y)  # no case of the training split has d
    np.testing.assert_allclose(lacking[:, :3], by_sklearn, atol=1e-5)


@pytest.mark.parametrize("there", [(0, 1, 2), (0, 2), (1,)])
def test_what_is_kept_of_a_model_gives_the_same_outputs(there: tuple[int, ...]) -> None:
    y = np.array(there)[np.digitize(X[:, 1] + NOISE, (-0.7, 0.7)) % len(there)]
    model = multinomial(X, np.eye(4)[y])
    np.testing.assert_array_equal(Linear.from_dict(json.loads(json.dumps(model.to_dict())))(X), model(X))
    if len(there) > 1:
        by_sklearn = LogisticRegression(max_iter=1000).fit(X, y).predict_log_proba(X)
        np.testing.assert_allclose(model(X)[:, there], by_sklearn, atol=1e-6)
    absent = sorted({0, 1, 2, 3} - set(there))
    np.testing.assert_allclose(model(X)[:, absent], np.log(1e-6))


def test_labels_have_one_each_and_constant_ones_their_share() -> None:
    y = np.stack([(X[:, 2] + NOISE > 0), np.zeros(80)], 1).astype(float)
    probs = read(named("multilabel", "a", "b"), y)
    np.testing.assert_allclose(probs[:, 0], LogisticRegression().fit(X, y[:, 0]).predict_proba(X)[:, 1], atol=1e-6)
    assert (probs[:, 1] < 1e-5).all()


def test_quantities_have_a_ridge_regression_in_their_unit() -> None:
    y = 100 + 20 * X[:, :1] + NOISE[:, None]
    target = Value(("age",), "years").learned(y)
    by_sklearn = Ridge(alpha=1.0).fit(X, y[:, 0]).predict(X)
    np.testing.assert_allclose(read(target, y)[:, 0], by_sklearn, atol=1e-6)


def efron(beta: np.ndarray, time: np.ndarray, event: np.ndarray) -> float:
    """The log partial likelihood as Efron's formula has it, event time by event time."""
    risk, total = X @ beta, 0.0
    for t in np.unique(time[event == 1]):
        tied = (time == t) & (event == 1)
        of_tied, at_risk = np.exp(risk[tied]).sum(), np.exp(risk[time >= t]).sum()
        total += risk[tied].sum() - sum(np.log(at_risk - k / tied.sum() * of_tied) for k in range(tied.sum()))
    return float(total)


def test_times_have_coxs_hazards_with_efrons_ties() -> None:
    time = np.ceil(5 * DRAW.exponential(np.exp(-X[:, 0])))  # many ties
    event = (DRAW.random(80) < 0.7).astype(float)
    followed = np.stack([time, event], 1)
    best = minimize(lambda beta: -efron(beta, time, event), np.zeros(3), method="BFGS", tol=1e-8).x
    np.testing.assert_allclose(cox(X, followed, penalty=0.0)(np.eye(3))[:, 0], best, atol=1e-4)
    penalised = minimize(lambda beta: -efron(beta, time, event) + beta @ beta / 2, np.zeros(3), tol=1e-8).x
    np.testing.assert_allclose(cox(X, followed)(np.eye(3))[:, 0], penalised, atol=1e-4)
