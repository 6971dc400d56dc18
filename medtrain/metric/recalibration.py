"""Calibration slope and intercept: the logistic regression that would correct the predicted probabilities.

A slope below 1 says that the probabilities are too extreme (overfitting), an intercept below 0 that they are too high
on the whole (Cox, Biometrika 1958; Van Calster et al., BMC Medicine 2019). A bootstrap asks for thousands of
regressions on the same cases with other weights: Newton's method takes them all at once, and a large number of cases
is spread over a grid of logits first.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logit

from medtrain.metric.bootstrap import Array

CLIP = 1e-12  # probabilities of 0 and 1 have no logit
NODES = 200
SPACING = 0.12  # of the grid, in logits
STEPS, CLOSE, FLAT = 50, 1e-5, 1e-9


class Recalibration:
    """Calibration slope and intercept of N probabilities, for any weights.

    With x the logit of the probability: the slope is b in ``logit P(y = 1) = a + b x``, fitted by maximum likelihood;
    the intercept is a in ``logit P(y = 1) = a + x``, the slope held at 1 (calibration in the large).

    Up to `NODES` distinct logits are kept as they are. More are spread over a grid of at most as many nodes: each
    case puts the weights of cubic interpolation on the four nodes next to it, so that sums of smooth functions of x
    stay right (the fitted numbers to about 1e-5; a replicate that almost separates the classes loses digits). `exact`
    uses all cases.

    Args:
        probs_N: probabilities, clipped to 1e-12 from 0 and 1.
        target_N: 1 or 0.

    Attributes:
        rows, cases, values: entries of the sparse matrix that makes sums of weights: M nodes, the positives, and
            their standardised logits.
        n_rows: M + 2.
        start: intercept and slope by standardised logits, (2, 1), of all cases with weight one; of the identity where
            they have no fit.
        exact: slope_R and intercept_R (R = 1) of all cases with weight one.
    """

    def __init__(self, probs_N: Array, target_N: Array) -> None:
        x_N = logit(np.clip(probs_N, CLIP, 1 - CLIP))
        self.mean, self.sd = (float(x_N.mean()), float(x_N.std())) if len(x_N) else (0.0, 0.0)
        z_N = (x_N - self.mean) / (self.sd or 1.0)
        distinct, node_N = np.unique(z_N, return_inverse=True)
        every, positive = np.arange(len(z_N)), np.flatnonzero(target_N > 0.5)
        if len(distinct) <= NODES:
            self.nodes, rows, cases, values = distinct, node_N, every, np.ones(len(z_N))
        else:
            self.nodes = _grid(distinct, self.sd)
            rows, values = _spread(z_N, self.nodes)
            cases = np.repeat(every, 4)
        m = len(self.nodes)
        self.n_rows = m + 2
        self.rows = np.concatenate([rows, np.full(len(positive), m), np.full(len(positive), m + 1)])
        self.cases = np.concatenate([cases, positive, positive])
        self.values = np.concatenate([values, np.ones(len(positive)), z_N[positive]])
        self.start = np.array([[self.mean], [self.sd]])
        sums = np.array([[float(len(positive))], [z_N[positive].sum()]])
        counts = np.bincount(node_N, minlength=len(distinct))[:, None].astype(np.float64)
        self.exact = self._fit(distinct, counts, sums)
        if np.isfinite(self.exact[0]):
            self.start = self._theta

    def fit(self, sums_KR: Array) -> tuple[Array, Array]:
        """Fit slope_R and intercept_R; NaN where one class or one logit only is left, or no step comes to rest."""
        sums = sums_KR.astype(np.float64)
        return self._fit(self.nodes, sums[:-2], sums[-2:])

    def _fit(self, z_M: Array, weights_MR: Array, sums_2R: Array) -> tuple[Array, Array]:
        r = weights_MR.shape[1]
        usable = (sums_2R[0] > 0) & (sums_2R[0] < weights_MR.sum(axis=0) * (1 - 1e-9))
        slope, intercept = np.full(r, np.nan), np.full(r, np.nan)
        if not usable.any():
            return slope, intercept
        weights, sums = weights_MR[:, usable], sums_2R[:, usable]
        fixed = np.array([[self.mean], [self.sd]])
        intercept[usable] = newton(z_M, weights, sums, fixed, slope=False)[0] - self.mean
        if self.sd:
            self._theta = newton(z_M, weights, sums, self.start)
            slope[usable] = self._theta[1] / self.sd
        return slope, intercept


def newton(z_M: Array, weights_MR: Array, sums_2R: Array, start_2: Array, slope: bool = True) -> Array:
    """Fit theta_2R of ``logit P(y = 1) = theta_0 + theta_1 z`` by maximum likelihood, for R weightings at once.

    Args:
        z_M: predictor, about standardised.
        weights_MR: weight of all cases at each.
        sums_2R: weight of the positive cases, and the weighted sum of their z.
        start_2: where to begin, (2, 1) or (2, R).
        slope: false keeps theta_1 as it was at the start.

    Returns:
        NaN where the steps don't come to rest, or do so where the likelihood is flat: classes that are separated
        have no maximum.
    """
    theta = np.broadcast_to(start_2, sums_2R.shape).copy()
    design = np.stack([np.ones_like(z_M), z_M, z_M**2])
    active = np.arange(theta.shape[1])
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            p_MR = 1 / (1 + np.exp(-(theta[0, active] + z_M[:, None] * theta[1, active])))
            mean_MR = weights_MR * p_MR
            gradient = sums_2R - design[:2] @ mean_MR
            info = design @ (mean_MR * (1 - p_MR))
            if slope:
                determinant = info[0] * info[2] - info[1] ** 2
                step = np.stack(
                    [info[2] * gradient[0] - info[1] * gradient[1], info[0] * gradient[1] - info[1] * gradient[0]]
                )
                step = step / np.where(determinant > 0, determinant, np.nan)
            else:
                step = np.stack([gradient[0] / info[0], np.zeros_like(info[0])])
            length = np.sqrt((step**2).sum(axis=0))
            theta[:, active] += step / np.maximum(length, 1)  # a step of more than a unit may overshoot
            flat = info[0] < FLAT * weights_MR.sum(axis=0)
            if slope:
                flat |= determinant < FLAT * info[0] ** 2
            going = length >= CLOSE
            theta[:, active[~going & (flat | np.isnan(length))]] = np.nan
            if not going.any():
                return theta
            if not going.all():
                active, weights_MR, sums_2R = active[going], weights_MR[:, going], sums_2R[:, going]
    theta[:, active] = np.nan
    return theta


def _grid(distinct: Array, sd: float) -> Array:
    low, high = distinct[0], distinct[-1]
    m = int(np.clip((high - low) * sd / SPACING, NODES // 2, NODES))
    return np.linspace(low, high, m)


def _spread(z_N: Array, nodes_M: Array) -> tuple[Array, Array]:
    """Spread cases over the grid: rows and values, four a case, of cubic (Lagrange) interpolation."""
    place = (z_N - nodes_M[0]) / (nodes_M[1] - nodes_M[0])
    first = np.clip(np.floor(place).astype(np.int64) - 1, 0, len(nodes_M) - 4)
    a, b, c, d = (place - first - k for k in range(4))
    values = np.stack([-b * c * d / 6, a * c * d / 2, -a * b * d / 2, a * b * c / 6], axis=1)
    return (first[:, None] + np.arange(4)).ravel(), values.ravel()
