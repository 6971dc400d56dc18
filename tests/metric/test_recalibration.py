"""Slope and intercept of weighted cases, kept or spread over a grid, against scikit-learn and a root finder."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.special import expit

from medtrain.metric.recalibration import NODES, Recalibration
from tests.metric.by_kind import evaluate
from tests.metric.references import recalibrated


def cases(n, scale, shift, decimals=None, seed=0):
    rng = np.random.default_rng(seed)
    x = scale * rng.normal(size=n) + shift
    target = (rng.random(n) < expit(0.7 * x + 0.4)).astype(float)
    probs = expit(x)
    return target, probs if decimals is None else probs.round(decimals)


def sums(sheet, weights_NR):
    """What the sparse matrix of an evaluation makes of the weights, entry by entry."""
    out = np.zeros((sheet.n_rows, weights_NR.shape[1]))
    np.add.at(out, sheet.rows, sheet.values[:, None] * weights_NR[sheet.cases])
    return out


@pytest.mark.parametrize(
    ("n", "scale", "shift", "decimals", "close"),
    [
        (150, 1.5, -0.5, None, 1e-9),  # each logit a node
        (3000, 1.5, -0.5, 2, 1e-9),  # ties; probabilities of 0 and 1 too
        (3000, 1.5, -0.5, None, 2e-5),  # a grid
        (3000, 0.2, 0.0, None, 2e-5),  # probabilities that hardly differ
        (3000, 6.0, -4.0, None, 2e-5),  # far too sure
        (6000, 1.0, -5.0, None, 2e-5),  # some 80 positives
    ],
)
def test_replicates_are_weighted_regressions(n, scale, shift, decimals, close):
    target, probs = cases(n, scale, shift, decimals)
    sheet = Recalibration(probs, target)
    assert (len(sheet.nodes) == len(np.unique(probs))) == (len(np.unique(probs)) <= NODES)
    weights_NR = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=8).T.astype(float)
    slope, intercept = sheet.fit(sums(sheet, weights_NR))
    loop = np.array([recalibrated(target, probs, w) for w in weights_NR.T])
    spread = loop.std(axis=0)
    assert np.abs(slope - loop[:, 0]).max() < max(close, 2e-4 * spread[0])
    assert np.abs(intercept - loop[:, 1]).max() < max(close, 2e-4 * spread[1])
    exact = recalibrated(target, probs)
    assert [float(v[0]) for v in sheet.exact] == pytest.approx(exact, abs=1e-8)


def test_known_miscalibration_is_found():
    """Logits twice as large as they should be, on average 0.5 too high."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=40_000)
    target = (rng.random(len(x)) < expit(x)).astype(float)
    slope, _ = Recalibration(expit(2 * x), target).exact
    _, intercept = Recalibration(expit(x + 0.5), target).exact
    assert slope == pytest.approx(0.5, abs=0.02) and intercept == pytest.approx(-0.5, abs=0.03)


@pytest.mark.parametrize(
    ("target", "probs", "defined"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], (False, True)),  # separated: no slope is the best
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], (False, True)),
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9], (False, True)),  # separated but for a tie
        ([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3], (False, True)),  # one probability
        ([0, 0, 0, 0], [0.1, 0.2, 0.8, 0.9], (False, False)),
        ([1, 0, 1, 0], [1.0, 0.0, 0.0, 1.0], (True, False)),
        ([], [], (False, False)),
    ],
)
def test_what_has_no_maximum_is_undefined(target, probs, defined):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slope, intercept = Recalibration(np.asarray(probs), np.asarray(target, dtype=float)).exact
    assert (np.isfinite(slope).all(), np.isfinite(intercept).all()) == defined


def test_separated_replicates_are_left_out_of_the_interval():
    target, probs = cases(40, 3.0, 0.0, seed=5)
    entry = evaluate("binary", np.stack([1 - probs, probs], 1), target, probs > 0.5, ["0", "1"])["metrics"]
    slope = entry["calibration_slope"]
    assert 0 < slope["ci95"][0] < slope["value"] < slope["ci95"][1] < 50
