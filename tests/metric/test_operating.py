"""Counts at thresholds against scikit-learn, intervals against those of the metrics, Bayes by hand."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from medtrain.metric import operating
from medtrain.metric.operating import RATES, even_npv, even_ppv, operating_points, threshold_grid
from tests.metric.by_kind import evaluate


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(3)
    target = (rng.random(300) < 0.2).astype(float)
    scores = np.round(1 / (1 + np.exp(-rng.normal(size=300) - 2 * target + 2)), 2)  # rounded: with ties
    return scores, target, [f"p{i // 4}" for i in range(300)]


def test_counts_are_those_of_scikit_learn(cases):
    scores, target, patients = cases
    points = operating_points(scores, target, patients)
    assert len(points.thresholds_T) > 50
    for t, counts in zip(points.thresholds_T, points.counts_T4, strict=True):
        tn, fp, fn, tp = confusion_matrix(target, scores >= t, labels=[0, 1]).ravel()
        assert counts.tolist() == [tp, fp, fn, tn]


def test_intervals_are_those_of_the_table(cases):
    """At the decision's threshold the explorer shows what the table of metrics shows, to the last digit."""
    scores, target, patients = cases
    for threshold in (0.02, 0.2, 0.5, 0.7):
        points = operating_points(scores, target, patients, np.array([threshold]))
        probs = np.stack([1 - scores, scores], 1)
        found = evaluate("binary", probs, target, scores >= threshold, 2, patients, 100, prevalence=0.03)
        for name in RATES:
            assert found["metrics"][name]["value"] == pytest.approx(points.rate(name)[0][0])
            assert found["metrics"][name]["ci95"] == pytest.approx(points.rate(name)[1][0].tolist())
        for name, share in (("ppv", 0.03), ("npv", 0.97)):
            value, interval = points.rate(f"even_{name}")
            even = np.array([*value, *interval[0]])
            there = found["prevalence"]["metrics"][name]
            at_share = even * share / (even * share + (1 - even) * (1 - share))
            assert [there["value"], *there["ci95"]] == pytest.approx(at_share.tolist(), abs=1e-9)


def test_many_patients_are_counted_in_parts(cases, monkeypatch):
    scores, target, patients = cases
    whole = operating_points(scores, target, patients)
    monkeypatch.setattr(operating, "CELLS", 700)
    parts = operating_points(scores, target, patients)
    np.testing.assert_array_equal(parts.counts_T4, whole.counts_T4)
    for name in RATES:
        np.testing.assert_allclose(parts.limits[name], whole.limits[name])


def test_undefined_rates_have_no_interval():
    scores, target = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 1, 0, 1])
    points = operating_points(scores, target, list("abcd"), np.array([0.0, 0.9]))
    values, intervals = points.rate("ppv")  # nothing is called positive from 0.9 on
    assert values[0] == 0.5 and np.isnan(values[1]) and np.isnan(intervals[1]).all()
    one = operating_points(np.array([0.1, 0.4]), np.array([0, 1]), ["a", "a"], np.array([0.2]))
    assert np.isnan(one.rate("sensitivity")[1]).all()  # one patient has no spread


def test_predictive_values_at_another_prevalence():
    """Se 0.9, Sp 0.8: at 1 % prevalence PPV = 0.009 / (0.009 + 0.198), NPV = 0.792 / (0.792 + 0.001)."""
    v, w, p = even_ppv(np.array(0.9), np.array(0.8)), even_npv(np.array(0.9), np.array(0.8)), 0.01
    assert v == pytest.approx(0.9 / 1.1) and w == pytest.approx(0.8 / 0.9)
    assert v * p / (v * p + (1 - v) * (1 - p)) == pytest.approx(0.009 / 0.207)
    assert w * (1 - p) / (w * (1 - p) + (1 - w) * p) == pytest.approx(0.792 / 0.793)


def test_the_grid_is_short_ascending_and_holds_the_decision(cases):
    scores = cases[0]
    rng = np.random.default_rng(0)
    many = rng.random(5000) ** 8  # most of them tiny, as of a rare finding
    grid = threshold_grid(many, rng.random(5000) < 0.1, 200, keep=(0.123456789,))
    assert len(grid) <= 200 and (np.diff(grid) > 0).all() and 0.123456789 in grid
    assert (grid < 0.01).mean() > 0.3  # where the cases are
    assert all(t == float(f"{t:.4g}") for t in grid.tolist() if t != 0.123456789)
    assert len(threshold_grid(scores, np.ones(300), 20)) <= 20  # one class only
