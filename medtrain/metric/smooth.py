"""The smooth calibration curve, and what lies between it and the diagonal: ICI, E50 and E90.

Bins hide what happens within them. A curve through all cases does not: the outcome is regressed on a restricted
cubic spline of the logit of the predicted probability (Harrell, Regression Modeling Strategies, section 2.4.5; Austin,
Harrell & van Klaveren, Statistics in Medicine 2020). The integrated calibration index is the mean distance of a case's
predicted probability from the curve, E50 and E90 are the median and the 90th percentile (Austin & Steyerberg,
Statistics in Medicine 2019). The spread is that of patients: a sandwich covariance of the regression, and draws of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, fdtri, logit

from medtrain.core.streams import stream
from medtrain.metric.analysis import Study, analysis
from medtrain.metric.bootstrap import Array
from medtrain.metric.classification import Results
from medtrain.metric.cluster import sandwich
from medtrain.metric.interval import NOTHING, Form, quantile, write
from medtrain.metric.recalibration import CLIP

KNOTS = {  # Harrell's quantiles, by the cases of the rarer outcome from which on so many knots are fitted
    50: (0.05, 0.275, 0.5, 0.725, 0.95),
    25: (0.05, 0.35, 0.65, 0.95),
    10: (0.1, 0.5, 0.9),
}
FEWEST = min(KNOTS)
POINTS, DRAWS, NODES = 41, 1000, 500
STEPS, CLOSE = 50, 1e-8
ERRORS = {"ici": None, "e50": 0.5, "e90": 0.9}  # the mean, and quantiles


@analysis
def calibration_curve(study: Study) -> Results:
    """Draw the calibration curve of each class that is looked for.

    Returns:
        ``{"calibration": {"smooth": {CLASS: {"knots", "curve": [{"predicted", "observed", "ci95"}], "ici", "e50",
        "e90"}}}, "per_class": {CLASS: {"ici", "e50", "e90"}}}``, and ``metrics`` of the one class that is looked for. A
        class without a curve has ``reason`` only, and values of None.
    """
    curves, errors = {}, {}
    for name in study.looked_for:
        fitted = fit_curve(*study.one_class(name))
        curves[name] = {"reason": fitted} if isinstance(fitted, str) else fitted.written()
        drawn = {} if isinstance(fitted, str) else fitted.errors(study.options.seed, study.options.bootstrap > 0)
        none = {"value": None, "ci95": None}
        errors[name] = {metric: drawn.get(metric, none) for metric in ERRORS}
    whole = errors[study.looked_for[0]] if len(study.looked_for) == 1 else {}
    return {"calibration": {"smooth": curves}, "per_class": errors, "metrics": whole}


@dataclass(frozen=True)
class Curve:
    """A fitted curve.

    Args:
        x_N: logits of the cases' probabilities.
        knots_K: of the spline; none: a straight line.
        theta, covariance: of the regression on `spline`.
        patients: how many the covariance comes from.
    """

    x_N: Array
    knots_K: Array
    theta: Array
    covariance: Array
    patients: int

    def predictor(self, x_M: Array) -> tuple[Array, Array]:
        """Compute the linear predictor and its standard error."""
        design = spline(x_M, self.knots_K)
        return design @ self.theta, np.sqrt(np.einsum("mk,kl,ml->m", design, self.covariance, design).clip(0))

    def written(self) -> dict[str, Any]:
        """List points of the curve with the limits of its band, from the 1st to the 99th percentile of the cases."""
        low, high = (float(end) for end in expit(np.quantile(self.x_N, [0.01, 0.99])))
        predicted = np.linspace(low, high, POINTS if low < high else 1)
        eta, error = self.predictor(logit(predicted.clip(CLIP, 1 - CLIP)))
        half = quantile(self.patients) * error
        points = zip(predicted, expit(eta), expit(eta - half), expit(eta + half), strict=True)
        curve = [{"predicted": float(p), "observed": float(o), "ci95": [float(a), float(b)]} for p, o, a, b in points]
        return {"knots": len(self.knots_K), "curve": curve}

    def errors(self, seed: int, intervals: bool) -> dict[str, dict[str, Any]]:
        """Compute ICI, E50 and E90; see `_limits` for their intervals."""
        values = _distances(self.x_N, spline(self.x_N, self.knots_K) @ self.theta[:, None])
        if not intervals:
            return {name: {"value": float(value[0]), "ci95": None} for name, value in values.items()}
        x_M = np.quantile(self.x_N, (np.arange(NODES) + 0.5) / NODES) if len(self.x_N) > NODES else self.x_N
        draws = stream(seed, "calibration curve").multivariate_normal(self.theta, self.covariance, DRAWS)
        drawn = _distances(x_M, spline(x_M, self.knots_K) @ draws.T)
        apart = self.theta - np.eye(len(self.theta))[1]  # from the diagonal: an intercept of 0, a slope of 1, no bend
        terms = len(apart)
        distance = float(apart @ np.linalg.solve(self.covariance, apart))
        calibrated = distance <= terms * float(fdtri(terms, max(1, self.patients - terms), 0.95))
        behind = (self.patients,)
        return {
            name: write(float(value[0]), Form(_limits(float(value[0]), drawn[name], calibrated), behind, NOTHING))
            for name, value in values.items()
        }


def fit_curve(probs_N: Array, positive_N: Array, patient_N: Array) -> Curve | str:
    """Fit the curve of one class; or say why there is none."""
    rarer, patients = int(min(positive_N.sum(), (~positive_N).sum())), len(np.unique(patient_N))
    if rarer < FEWEST:
        return f"{rarer} cases of the rarer outcome: a curve needs {FEWEST}"
    x_N = logit(np.clip(probs_N, CLIP, 1 - CLIP))
    shares = next(shares for least, shares in KNOTS.items() if rarer >= least)
    knots_K = np.unique(np.quantile(x_N, shares, method="nearest"))  # no more terms than different probabilities
    if len(knots_K) < 3:
        knots_K = np.empty(0)
    design = spline(x_N, knots_K)
    theta = _fit(design, positive_N) if np.ptp(x_N) > 0 and patients > 1 else None
    if theta is None:
        return "the probabilities separate the outcomes, or are all the same"
    p_N = expit(design @ theta)
    information = design.T @ (design * (p_N * (1 - p_N))[:, None])
    return Curve(x_N, knots_K, theta, sandwich(design, positive_N - p_N, information, patient_N), patients)


def spline(x_N: Array, knots_K: Array) -> Array:
    """Make the terms (N, K) of a restricted cubic spline: 1, x, and K - 2 cubic ones, linear beyond the knots."""
    terms = [np.ones_like(x_N), x_N]
    if len(knots_K):
        first, (before, last) = knots_K[0], knots_K[-2:]
        cube = lambda knot: (x_N - knot).clip(0) ** 3  # noqa: E731
        for knot in knots_K[:-2]:
            bent = (
                cube(knot)
                - cube(before) * (last - knot) / (last - before)
                + cube(last) * (before - knot) / (last - before)
            )
            terms.append(bent / (last - first) ** 2)
    return np.stack(terms, axis=1)


def _fit(design_NK: Array, positive_N: Array) -> Array | None:
    """Fit a logistic regression by Newton's method; None where it doesn't come to rest."""
    theta = np.zeros(design_NK.shape[1])
    theta[1] = 1.0
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            p_N = expit(design_NK @ theta)
            gradient = design_NK.T @ (positive_N - p_N)
            information = design_NK.T @ (design_NK * (p_N * (1 - p_N))[:, None])
            try:
                step = np.linalg.solve(information, gradient)
            except np.linalg.LinAlgError:
                return None
            if not np.isfinite(step).all():
                return None
            reach = np.abs(design_NK @ step).max()
            theta = theta + step / max(1.0, reach / 4)  # of a longer step the quadratic says little
            if reach < CLOSE:
                flat = np.linalg.cond(information) > 1e12 or (p_N * (1 - p_N)).max() < 1e-6
                return None if flat else theta
    return None


def _distances(x_M: Array, eta_MR: Array) -> dict[str, Array]:
    """Compute mean and quantiles of the distances of curves from the diagonal."""
    distance_MR = np.abs(expit(eta_MR) - expit(x_M)[:, None])
    return {
        name: distance_MR.mean(axis=0) if share is None else np.quantile(distance_MR, share, axis=0)
        for name, share in ERRORS.items()
    }


def _limits(value: float, drawn_R: Array, calibrated: bool) -> tuple[float, float]:
    """Compute the limits of a distance, which is never negative and whose draws lie above it.

    The upper one is the draws' percentile. The lower one is as far below the value as the upper lies above (the basic
    interval; Davison & Hinkley 1997, section 5.2), or 0 where the diagonal itself is within the regression's spread.
    """
    high = float(np.quantile(drawn_R, 0.975))
    return 0.0 if calibrated else max(0.0, min(value, 2 * value - high)), max(value, high)
