"""What is left when the least certain are left out, by scikit-learn on the cases picked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score, roc_auc_score

from tests.metric.by_kind import abstention_curve, doubt, spread

DRAW = np.random.default_rng(0)


def test_binary_metrics_of_the_most_certain() -> None:
    p, unsure = DRAW.random(83), DRAW.random(83)
    y = (DRAW.random(83) < p).astype(float)
    y[[4, 17]] = np.nan
    predicted = (p >= 0.4).astype(int)
    curve = abstention_curve("binary", np.stack([1 - p, p], 1), y, predicted, ["0", "1"], unsure)
    assert [row["kept"] for row in curve] == pytest.approx(np.linspace(1, 0.5, 11))
    known = np.flatnonzero(np.isfinite(y))
    by_doubt = known[np.argsort(unsure[known])]
    for row in curve:
        kept = by_doubt[: int(np.ceil(row["kept"] * 81 - 1e-9))]
        assert row["n_cases"] == len(kept)
        values = {name: entry["value"] for name, entry in row["metrics"].items()}
        assert values["auroc"] == pytest.approx(roc_auc_score(y[kept], p[kept]))
        assert values["accuracy"] == pytest.approx(accuracy_score(y[kept], predicted[kept]))
        assert values["sensitivity"] == pytest.approx(recall_score(y[kept], predicted[kept]))
        assert values["specificity"] == pytest.approx(recall_score(y[kept], predicted[kept], pos_label=0))


def test_multiclass() -> None:
    probs = DRAW.dirichlet([1, 1, 1], 60)
    y = np.array([DRAW.choice(3, p=p) for p in probs])
    top = doubt("multiclass", probs)
    expected = -np.diff(np.sort(probs, 1)[:, 1:], axis=1)[:, 0]
    np.testing.assert_allclose(top, expected)
    (row,) = abstention_curve("multiclass", probs, y, probs.argmax(1), list("abc"), top, shares=[0.5])
    kept = np.argsort(top)[:30]
    assert row["metrics"]["balanced_accuracy"]["value"] == pytest.approx(
        balanced_accuracy_score(y[kept], probs[kept].argmax(1))
    )


def test_each_label_of_many_is_left_by_its_own_uncertainty() -> None:
    probs, unsure = DRAW.random((50, 2)), DRAW.random((50, 2))
    y = (DRAW.random((50, 2)) < probs).astype(float)
    y[:10, 1] = np.nan
    predicted = (probs >= 0.5).astype(int)
    (row,) = abstention_curve("multilabel", probs, y, predicted, ["a", "b"], unsure, shares=[0.6])
    a, b = np.argsort(unsure[:, 0])[:30], 10 + np.argsort(unsure[10:, 1])[:24]
    expected = np.mean([accuracy_score(y[rows, c], predicted[rows, c]) for c, rows in enumerate((a, b))])
    assert row["metrics"]["accuracy"]["value"] == pytest.approx(expected)
    assert row["n_cases"] == len(set(a) | set(b))


def test_nearness_to_the_decision() -> None:
    p = np.array([0.5, 0.2, 0.05, 0.8])
    two = np.stack([1 - p, p], 1)
    near = doubt("binary", two, [0.2])
    assert near[1] == 0 and near.argsort()[-1] == 1 and (near <= 0).all()
    np.testing.assert_allclose(near[0], -abs(np.log(0.5 / 0.5) - np.log(0.2 / 0.8)))
    own = doubt("binary", two, [[0.5], [0.2], [0.05], [0.8]])  # a threshold a case
    np.testing.assert_allclose(own, 0, atol=1e-12)
    assert np.isfinite(doubt("multilabel", two, [0.0, np.nextafter(1, 2)])).all()


def test_spread_of_several_predictions() -> None:
    probs = DRAW.dirichlet([1, 1, 1], (20, 4))
    predicted = probs.mean(1).argmax(1)
    sd = probs.std(1, ddof=1)
    np.testing.assert_allclose(spread("multiclass", probs, predicted), sd[range(20), predicted])
    np.testing.assert_allclose(spread("multilabel", probs, predicted), sd)
    np.testing.assert_allclose(spread("binary", probs[..., :2], predicted), sd[:, 1])
