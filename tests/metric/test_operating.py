"""Counts at thresholds against scikit-learn, intervals against a bootstrap written out, Bayes by hand."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from medtrain.core.streams import stream
from medtrain.metric.binary import npv, ppv, sensitivity, specificity
from medtrain.metric.operating import even_npv, even_ppv, operating_points, threshold_grid

RATES = (sensitivity, specificity, ppv, npv)


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(3)
    target = (rng.random(300) < 0.2).astype(float)
    scores = np.round(1 / (1 + np.exp(-rng.normal(size=300) - 2 * target + 2)), 2)  # rounded: with ties
    return scores, target, [f"p{i // 4}" for i in range(300)]


def test_counts_are_those_of_scikit_learn(cases):
    scores, target, patients = cases
    points = operating_points(scores, target, patients, replicates=0)
    assert len(points.thresholds_T) > 50
    for t, counts in zip(points.thresholds_T, points.counts_T4, strict=True):
        tn, fp, fn, tp = confusion_matrix(target, scores >= t, labels=[0, 1]).ravel()
        assert counts.tolist() == [tp, fp, fn, tn]


def test_intervals_are_those_of_resampled_patients(cases):
    """The replicates are drawn again by hand, patient by patient, from the same stream."""
    scores, target, patients = cases
    grid, replicates = np.array([0.2, 0.5]), 60
    points = operating_points(scores, target, patients, grid, replicates=replicates)
    names, index = np.unique(patients, return_inverse=True)
    drawn = stream(0, "bootstrap").integers(0, len(names), size=(replicates, len(names)))
    by_hand = []
    for who in drawn:
        rows = np.concatenate([np.flatnonzero(index == p) for p in who])
        tables = [confusion_matrix(target[rows], scores[rows] >= t, labels=[0, 1]).ravel() for t in grid]
        by_hand.append([tp / (tp + fn) for _, _, fn, tp in tables])
    low, high = np.percentile(by_hand, [2.5, 97.5], axis=0)
    values, intervals = points.rate(sensitivity)
    np.testing.assert_allclose(intervals, np.stack([low, high], axis=1))
    assert ((intervals[:, 0] < values) & (values < intervals[:, 1])).all()


def test_undefined_rates_have_no_interval():
    points = operating_points(
        np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 1, 0, 1]), list("abcd"), np.array([0.0, 0.9])
    )
    values, intervals = points.rate(ppv)  # nothing is called positive from 0.9 on
    assert values[0] == 0.5 and np.isnan(values[1]) and np.isnan(intervals[1]).all()
    one = operating_points(np.array([0.1, 0.4]), np.array([0, 1]), ["a", "a"], np.array([0.2]))
    assert np.isnan(one.rate(sensitivity)[1]).all()  # one patient has no spread


def test_predictive_values_at_another_prevalence():
    """Se 0.9, Sp 0.8: at 1 % prevalence PPV = 0.009 / (0.009 + 0.198), NPV = 0.792 / (0.792 + 0.001)."""
    counts = tuple(np.array([n], float) for n in (90, 20, 10, 80))
    v, w, p = even_ppv(*counts)[0], even_npv(*counts)[0], 0.01
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
