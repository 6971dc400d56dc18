"""Limits of calibration slope and intercept over patients: profile likelihood, tempered by what patients show.

Few patients nearly separate the classes, where a slope's error is far from normal and half of the replicates have no
slope at all. The likelihood knows how steep a slope may be; a design effect, as of `medtrain.metric.share`, says how
many independent cases the cases of alike patients are worth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit, logit

from medtrain.metric.bootstrap import Array
from medtrain.metric.interval import NOTHING, Limits, quantile
from medtrain.metric.recalibration import CLIP, Recalibration, newton

PRIOR = 2.0  # events that the greatest design effect counts as
STEPS, CLOSE, FARTHEST = 40, 1e-6, 1e6


def slope_limits(line: Recalibration, probs_N: Array, target_N: Array, patient_N: Array) -> Limits:
    """Compute 95 % limits of the slope of `Recalibration`, the intercept fitted anew at each.

    Where twice the log-likelihood lies below its maximum by the square of Student's t times the design effect. That
    is the ratio of the variance over patients (White, Econometrica 1982) to the model's, averaged with the mean size
    of patients where events are few.

    Args:
        line: fitted to the N cases.
        patient_N: the number of each case's patient, 0..P-1.
    """
    slope = float(line.exact[0][0])
    if not np.isfinite(slope):
        return NOTHING
    fit = _Fit(line)
    z_N = (logit(np.clip(probs_N, CLIP, 1 - CLIP)) - line.mean) / line.sd
    theta = fit.intercept(slope * line.sd), slope * line.sd
    if not np.isfinite(theta[0]):
        return NOTHING
    variance, effect = _spread(theta, np.stack([np.ones_like(z_N), z_N]), target_N, patient_N)
    low, high = _ends(lambda b: fit.log_likelihood(fit.intercept(b), b), theta[1], variance, effect, patient_N)
    return low / line.sd, high / line.sd


def intercept_limits(line: Recalibration, probs_N: Array, target_N: Array, patient_N: Array) -> Limits:
    """Compute 95 % limits of the intercept of `Recalibration`, the slope being 1; see `slope_limits`."""
    value = float(line.exact[1][0])
    if not np.isfinite(value):
        return NOTHING
    fit, x_N = _Fit(line), logit(np.clip(probs_N, CLIP, 1 - CLIP))
    theta = value, 1.0
    variance, effect = _spread(theta, np.stack([np.ones_like(x_N), x_N]), target_N, patient_N, fixed=True)
    return _ends(lambda a: fit.log_likelihood(a + line.mean, line.sd), value, variance, effect, patient_N)


def _spread(
    theta: tuple[float, float], design_2N: Array, target_N: Array, patient_N: Array, fixed: bool = False
) -> tuple[float, float]:
    """Compute the model's variance of the last coefficient, and its design effect.

    Args:
        fixed: the slope is not fitted: the last is the intercept.
    """
    p_N = expit(np.array(theta) @ design_2N)
    weight_N, n_patients = p_N * (1 - p_N), int(patient_N.max()) + 1
    design = design_2N[:1] if fixed else design_2N
    inverse = np.linalg.pinv((design * weight_N) @ design.T)
    score_P = np.stack([np.bincount(patient_N, (target_N - p_N) * row, minlength=n_patients) for row in design])
    robust = inverse @ score_P @ score_P.T @ inverse * n_patients / max(1, n_patients - 1)
    size = float((np.bincount(patient_N) ** 2).sum() / len(patient_N))
    events = 2 * float(weight_N.sum()) / size
    variance = float(inverse[-1, -1])
    shown = float(robust[-1, -1]) / max(variance, 1e-300)
    return variance, max(1.0, (events * shown + PRIOR * size) / (events + PRIOR))


class _Fit:
    """The log-likelihood of a line through standardised logits."""

    def __init__(self, line: Recalibration) -> None:
        sums_K = np.bincount(line.rows, line.values, minlength=line.n_rows)
        self.nodes, self.weights_M1, self.sums_21 = line.nodes, sums_K[:-2, None], sums_K[-2:, None]
        self.near = self.first = float(line.start[0, 0])

    def intercept(self, slope: float) -> float:
        """Fit the intercept at a slope; NaN where the steps don't come to rest."""
        start_2 = np.array([[self.near], [slope]])
        value = float(newton(self.nodes, self.weights_M1, self.sums_21, start_2, slope=False)[0, 0])
        self.near = value if np.isfinite(value) else self.first
        return value

    def log_likelihood(self, intercept: float, slope: float) -> float:
        """Compute it; minus infinity without an intercept."""
        if not np.isfinite(intercept):
            return -np.inf
        value = float(intercept * self.sums_21[0, 0] + slope * self.sums_21[1, 0])
        return value - float(self.weights_M1[:, 0] @ np.logaddexp(0, intercept + slope * self.nodes))


def _ends(
    log_likelihood: Callable[[float], float], best: float, variance: float, effect: float, patient_N: Array
) -> Limits:
    """Find where twice the log-likelihood has fallen as far as it may."""
    root = quantile(int(patient_N.max()) + 1) * float(np.sqrt(effect))
    highest = log_likelihood(best)

    def excess(x: float) -> float:
        return float(np.sqrt(max(0.0, 2 * (highest - log_likelihood(x))))) - root

    low, high = (_edge(excess, best, sign * root * float(np.sqrt(variance)), -root) for sign in (-1, 1))
    return low, high


def _edge(excess: Callable[[float], float], best: float, step: float, short: float) -> float:
    """Find where an excess, below 0 at the best, is 0: about a straight line, by false position (Illinois)."""
    inside, outside = best, best + step
    over = excess(outside)
    while over < 0 and abs(outside - best) < FARTHEST * abs(step):
        inside, short = outside, over
        outside += 2 * (outside - best)
        over = excess(outside)
    for _ in range(STEPS):
        straight = outside - over * (outside - inside) / (over - short) if np.isfinite(over) else np.nan
        near = straight if np.isfinite(straight) else (inside + outside) / 2
        value = excess(near)
        if abs(value) < CLOSE:
            return near
        if value < 0:
            inside, short, over = near, value, over / 2
        else:
            outside, over, short = near, value, short / 2
    return (inside + outside) / 2
