"""The smooth calibration curve against scikit-learn's regression on a spline written from Harrell's formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from medtrain.metric.smooth import Curve, fit_curve, spline


def data(n: int, slope: float = 0.6, intercept: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=n) * 1.5 - 1
    return expit(x), draw.random(n) < expit(intercept + slope * x)


def harrell(x: float, knots: np.ndarray) -> list[float]:
    """Regression Modeling Strategies, equation 2.25, divided by the square of the knots' range."""
    *inner, before, last = knots
    first = knots[0]

    def cube(knot: float) -> float:
        return max(0.0, x - knot) ** 3

    return [1.0, x] + [
        (cube(t) - cube(before) * (last - t) / (last - before) + cube(last) * (before - t) / (last - before))
        / (last - first) ** 2
        for t in inner
    ]


def fitted(*args: np.ndarray) -> Curve:
    curve = fit_curve(*args)
    assert isinstance(curve, Curve), curve
    return curve


@pytest.mark.parametrize(("n", "knots"), [(400, 5), (90, 4), (45, 3)])
def test_the_curve_is_the_regression(n: int, knots: int) -> None:
    probs, ill = data(n)
    curve = fitted(probs, ill, np.arange(n))
    assert len(curve.knots_K) == knots
    design = np.array([harrell(x, curve.knots_K) for x in logit(probs)])
    np.testing.assert_allclose(spline(logit(probs), curve.knots_K), design, atol=1e-12)
    reference = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(design, ill)
    expected = reference.predict_proba(design)[:, 1]
    np.testing.assert_allclose(expit(curve.predictor(logit(probs))[0]), expected, atol=2e-4)
    distance = np.abs(expected - probs)
    found = {name: entry["value"] for name, entry in curve.errors(0, False).items()}
    wanted = {"ici": distance.mean(), "e50": np.median(distance), "e90": np.quantile(distance, 0.9)}
    assert found == pytest.approx(wanted, abs=2e-4)


def test_the_band_is_that_of_a_bootstrap_over_patients() -> None:
    """Each patient's case comes four times: the band is that of the patients, not half as wide."""
    probs, ill = data(250, seed=3)
    curve = fitted(np.tile(probs, 4), np.tile(ill, 4), np.tile(np.arange(250), 4))
    alone = fitted(probs, ill, np.arange(250))
    x = np.linspace(-2.5, 0.5, 7)
    np.testing.assert_allclose(curve.predictor(x)[0], alone.predictor(x)[0], atol=0.05)  # knots lie a case apart
    np.testing.assert_allclose(curve.predictor(x)[1], alone.predictor(x)[1], rtol=0.05)
    draw, drawn = np.random.default_rng(0), []
    for _ in range(300):
        at = draw.integers(0, 250, 250)
        design = spline(logit(probs[at]), alone.knots_K)
        model = LogisticRegression(C=np.inf, fit_intercept=False, max_iter=1000).fit(design, ill[at])
        drawn.append(spline(x, alone.knots_K) @ model.coef_[0])
    np.testing.assert_allclose(alone.predictor(x)[1], np.std(drawn, axis=0), rtol=0.25)


def test_a_calibrated_model_may_have_no_error() -> None:
    """The interval holds 0 in about 19 of 20 calibrated data sets, and leaves it where the model is far off."""
    held = 0
    for seed in range(60):
        probs, ill = data(300, slope=1, intercept=0, seed=seed)
        held += fitted(probs, ill, np.arange(300)).errors(0, True)["ici"]["ci95"][0] == 0
    assert held >= 52
    probs, ill = data(2000, slope=0.4, intercept=0.8)
    entry = fitted(probs, ill, np.arange(2000)).errors(0, True)["ici"]
    truth = np.abs(expit(0.8 + 0.4 * logit(probs)) - probs).mean()
    assert 0.1 < entry["ci95"][0] < truth < entry["ci95"][1] and entry["ci95"][0] < entry["value"] < entry["ci95"][1]


def test_what_has_no_curve_says_why() -> None:
    probs, ill = data(200)
    assert "9 cases of the rarer outcome" in str(fit_curve(probs, np.arange(200) < 9, np.arange(200)))
    assert "separate" in str(fit_curve(probs, probs > 0.5, np.arange(200)))
    assert "all the same" in str(fit_curve(np.full(200, 0.3), ill, np.arange(200)))


def test_few_different_probabilities_make_a_straight_line() -> None:
    draw = np.random.default_rng(1)
    probs = np.where(np.arange(300) % 2 == 0, 0.2, 0.7)
    ill = draw.random(300) < probs
    curve = fitted(probs, ill, np.arange(300))
    assert not len(curve.knots_K)
    shares = [ill[probs == p].mean() for p in (0.2, 0.7)]
    np.testing.assert_allclose(expit(curve.predictor(logit(np.array([0.2, 0.7])))[0]), shares, atol=1e-6)
    written = curve.written()["curve"]
    assert written[0]["predicted"] == pytest.approx(0.2) and written[-1]["observed"] == pytest.approx(shares[1])
